//! Collects log lines, for tests.

use std::{
    cell::RefCell,
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

thread_local! {
    static COLLECTOR: RefCell<Option<LogLines>> = const { RefCell::new(None) };
}

/// The fields of all log lines, each as ` name=value`.
#[derive(Debug, Clone, Default)]
pub struct LogLines(Arc<Mutex<String>>);

/// Ends the collection of a thread's lines when it is dropped.
#[must_use]
pub struct Collecting(());

impl LogLines {
    /// Collects the lines of this thread until the guard is dropped.
    pub fn collect(&self) -> Collecting {
        // One subscriber for all threads. With one for each thread, a log line that a thread without a subscriber reaches first is
        // switched off for all of them. An error says that it was set before.
        let _ = tracing::subscriber::set_global_default(OfThread);
        tracing::callsite::rebuild_interest_cache();
        COLLECTOR.with_borrow_mut(|collector| *collector = Some(self.clone()));
        Collecting(())
    }

    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        COLLECTOR.with_borrow_mut(|collector| *collector = None);
    }
}

/// Writes each line to the collector of its thread.
struct OfThread;

impl Subscriber for OfThread {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        COLLECTOR.with_borrow(|collector| {
            if let Some(LogLines(lines)) = collector {
                event.record(&mut Fields(&mut lines.lock().unwrap_or_else(PoisonError::into_inner)));
            }
        });
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
