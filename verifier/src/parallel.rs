//! Work on many items by several threads.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Returns what `work` makes of each item, in the items' order. Each thread has a state of its own.
pub(crate) fn map<T: Sync, R: Send, S>(
    items: &[T],
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> R + Sync,
) -> Vec<R> {
    // Even on one core, a second thread works while the first waits for the disk.
    let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2).min(items.len().max(1));
    let next = AtomicUsize::new(0);
    let run = || {
        let (mut state, mut results) = (state(), Vec::new());
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let Some(item) = items.get(at)
        {
            results.push((at, work(&mut state, item)));
        }
        results
    };
    let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut results = run();
        for other in others {
            match other.join() {
                Ok(more) => results.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    });
    results.sort_unstable_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_the_items_order() {
        let items: Vec<u32> = (0..1000).collect();
        assert_eq!(map(&items, || (), |(), item| item * 2), (0..2000).step_by(2).collect::<Vec<_>>());
        assert!(map(&[], || (), |(), item: &u32| *item).is_empty());
    }
}
