//! Statistics of repeated measurements, and their formatting.

use std::time::Duration;

use serde::Serialize;

/// The values of a figure, one for each repeat.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) values: Vec<f64>,
}

impl Figures {
    pub(crate) fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        let sorted = sorted(&values);
        let median = match sorted.len() {
            0 => f64::NAN,
            length if length % 2 == 1 => sorted[length / 2],
            length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
        };
        let least = sorted.first().copied().unwrap_or(f64::NAN);
        let most = sorted.last().copied().unwrap_or(f64::NAN);
        Self { median, least, most, values }
    }

    /// The median with the range: `12.3 (11.9–12.8)`.
    pub(crate) fn show(&self, one: impl Fn(f64) -> String) -> String {
        match self.values.len() {
            0 | 1 => one(self.median),
            _ => format!("{} ({}–{})", one(self.median), one(self.least), one(self.most)),
        }
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// By the nearest rank.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let sorted = sorted(values);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// `12,345`
pub(crate) fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1.23 s`, `45 ms`
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        10.0.. => format!("{seconds:.1} s"),
        1.0.. => format!("{seconds:.2} s"),
        0.1.. => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{:.1} ms", seconds * 1e3),
    }
}

/// As [`seconds`].
pub(crate) fn duration(duration: Duration) -> String {
    seconds(duration.as_secs_f64())
}

/// `123.4 MiB`
pub(crate) fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

/// `1.23x`, `12.3x`, `20x`
pub(crate) fn times(ratio: f64) -> String {
    match ratio {
        whole if whole.fract() == 0.0 => format!("{whole:.0}x"),
        ..10.0 => format!("{ratio:.2}x"),
        _ => format!("{ratio:.1}x"),
    }
}
