//! Draws the report: throughput as bars, and how far each figure is from its target.

use std::fmt::Write as _;

use crate::figures::count;
use crate::row::{Measure, Row, Target};

const WIDTH: f64 = 960.0;
/// The ends of the bars. Names are to the left of them, figures to the right.
const LEFT: f64 = 270.0;
const RIGHT: f64 = 760.0;
const BAR: f64 = 22.0;
const LINE: f64 = 30.0;

const INK: &str = "#1f2937";
const FAINT: &str = "#6b7280";
const GRID: &str = "#e5e7eb";
const OURS: &str = "#2563eb";
const THEIRS: &str = "#9ca3af";
const MET: &str = "#15803d";
const MISSED: &str = "#c2410c";

pub(crate) fn svg(rows: &[Row], caption: &str) -> String {
    let mut canvas = Canvas { body: String::new(), y: 30.0 };
    canvas.text(24.0, canvas.y, "start", 20, INK, "bold", "What the exporter costs");
    canvas.y += 22.0;
    canvas.text(24.0, canvas.y, "start", 12, FAINT, "normal", caption);
    canvas.y += 34.0;
    let compared: Vec<&Row> = rows.iter().filter(|row| Comparison::from_row(row).is_some()).collect();
    if !compared.is_empty() {
        canvas.throughput(&compared);
    }
    canvas.targets(rows);
    let height = canvas.y + 10.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif">
<rect width="100%" height="100%" fill="#ffffff"/>
{}</svg>
"##,
        canvas.body
    )
}

/// Two throughputs, and the target of ours.
struct Comparison<'a> {
    ours: &'a Measure,
    theirs: &'a Measure,
    wanted: f64,
}

impl<'a> Comparison<'a> {
    fn from_row(row: &'a Row) -> Option<Self> {
        match &row.measures[..] {
            [ours, theirs, Measure { target: Some(Target::AtLeast(wanted)), .. }, ..]
                if ["throughput", "stock", "gzip"].contains(&row.name) =>
            {
                Some(Self { ours, theirs, wanted: wanted * theirs.value })
            }
            _ => None,
        }
    }
}

/// A logarithmic scale.
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        let share = (value / self.least).log10() / (self.most / self.least).log10();
        LEFT + share.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (first, last) = (self.least.log10().ceil() as i32, self.most.log10().floor() as i32);
        (first..=last).map(|power| 10_f64.powi(power))
    }
}

struct Canvas {
    body: String,
    y: f64,
}

impl Canvas {
    #[allow(clippy::too_many_arguments, reason = "each is an attribute of the element")]
    fn text(&mut self, x: f64, y: f64, anchor: &str, size: u32, fill: &str, weight: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        // Writing into a text can't fail.
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{fill}">{text}</text>"#
        );
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str, width: f64, dashes: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{stroke}" stroke-width="{width}" stroke-dasharray="{dashes}"/>"#
        );
    }

    fn heading(&mut self, title: &str, explained: &str) {
        self.text(24.0, self.y, "start", 15, INK, "bold", title);
        self.text(24.0, self.y + 18.0, "start", 12, FAINT, "normal", explained);
        self.y += 36.0;
    }

    fn grid(&mut self, scale: &Scale, height: f64, label: impl Fn(f64) -> String) {
        for tick in scale.ticks() {
            let x = scale.x(tick);
            self.line((x, self.y), (x, self.y + height), GRID, 1.0, "none");
            self.text(x, self.y + height + 16.0, "middle", 11, FAINT, "normal", &label(tick));
        }
    }

    fn throughput(&mut self, rows: &[&Row]) {
        self.heading(
            "Events per CPU second, from Query to PUT",
            "Logarithmic scale. Whiskers span all repeats. The dashed line is the target.",
        );
        let comparisons: Vec<_> = rows.iter().filter_map(|row| Some((*row, Comparison::from_row(row)?))).collect();
        let most = comparisons.iter().map(|(_, it)| it.wanted.max(it.ours.value)).fold(1e4, f64::max);
        let scale = Scale { least: 1e3, most: most * 1.3 };
        let group = 2.0 * LINE + 14.0;
        self.grid(&scale, comparisons.len() as f64 * group - 10.0, count);
        for (row, Comparison { ours, theirs, wanted }) in &comparisons {
            let top = self.y;
            for (measure, fill) in [(ours, OURS), (theirs, THEIRS)] {
                let end = scale.x(measure.value);
                let _ = writeln!(
                    self.body,
                    r#"<rect x="{LEFT}" y="{:.1}" width="{:.1}" height="{BAR}" rx="2" fill="{fill}"/>"#,
                    self.y + 4.0,
                    end - LEFT
                );
                let figures = row.figures.get(&format!("{} events per CPU second", measure.what));
                if let Some(figures) = figures {
                    let middle = self.y + 4.0 + BAR / 2.0;
                    self.line((scale.x(figures.least), middle), (scale.x(figures.most), middle), INK, 1.5, "none");
                }
                let name = format!("{}{}", measure.what, if row.name == "gzip" { ", gzip" } else { "" });
                self.text(LEFT - 10.0, self.y + 20.0, "end", 13, INK, "normal", &name);
                self.text(RIGHT + 190.0, self.y + 20.0, "end", 13, INK, "normal", &count(measure.value));
                self.y += LINE;
            }
            let x = scale.x(*wanted);
            self.line((x, top), (x, self.y), MISSED, 1.5, "5 4");
            let label = format!("{}x", (wanted / theirs.value).round());
            self.text(x + 6.0, self.y - 4.0, "start", 11, MISSED, "normal", &label);
            self.y = top + group;
        }
        self.y += 44.0;
    }

    fn targets(&mut self, rows: &[Row]) {
        let measures: Vec<_> = rows
            .iter()
            .flat_map(|row| row.measures.iter().map(move |measure| (row, measure)))
            .filter_map(|(row, measure)| Some((row, measure, measure.target?)))
            .collect();
        if measures.is_empty() {
            return;
        }
        self.heading(
            "Distance of each figure from its target",
            "Logarithmic scale. Right of the line is better than the target.",
        );
        let scale = Scale { least: 0.08, most: 12.5 };
        let height = measures.len() as f64 * LINE;
        self.grid(&scale, height, |tick| match tick {
            1.0 => "target".to_owned(),
            ..1.0 => format!("1/{:.0}", 1.0 / tick),
            _ => format!("{tick:.0}x"),
        });
        let target = scale.x(1.0);
        self.line((target, self.y), (target, self.y + height), FAINT, 1.5, "none");
        for (row, measure, wanted) in measures {
            let reached = match wanted {
                Target::AtLeast(bound) => measure.value / bound,
                Target::AtMost(bound) => bound / measure.value,
            };
            let (x, middle) = (scale.x(reached), self.y + LINE / 2.0);
            let fill = if measure.met == Some(true) { MET } else { MISSED };
            self.line((target, middle), (x, middle), fill, 3.0, "none");
            let _ = writeln!(self.body, r#"<circle cx="{x:.1}" cy="{middle:.1}" r="6" fill="{fill}"/>"#);
            let name = format!("{}, {}", row.name, measure.what);
            self.text(LEFT - 10.0, middle + 4.5, "end", 13, INK, "normal", &name);
            let shown = measure.shown.split(" (").next().unwrap_or_default();
            let shown = format!("{shown}  ({})", measure.wanted);
            self.text(RIGHT + 190.0, middle + 4.5, "end", 13, INK, "normal", &shown);
            self.y += LINE;
        }
        self.y += 34.0;
    }
}
