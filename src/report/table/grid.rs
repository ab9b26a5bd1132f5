//! The grids: CPU and memory by container, the metrics, and the rounds.

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY,
};

use crate::{
    record::reading::Segment,
    report::{
        Screen,
        number::{NONE, duration, interval, or_none, percent, plain, with_unit},
    },
    stats::{
        comparison::Metric,
        mean::mean,
        metric::{Unit, Window},
        summary::Summary,
        view::{Figure, LegSummary, usage::Usage},
    },
    wrap::wrap,
};

/// Columns that the numbers of the widest grid need beside a name.
const ROOM: u16 = 72;

/// Columns from which on windows have a column of their own.
const WIDE: u16 = 92;

/// Name of the row that sums up the containers.
const POD: &str = "pod";

type Number = fn(&Usage) -> Option<f64>;

pub(super) fn cpu(summary: &Summary, screen: Screen) -> String {
    let settings = &summary.settings;
    let title = format!(
        "CPU, millicores: trimmed mean ({} + {}) of {} samples of {}",
        settings.trim,
        settings.trim,
        settings.samples,
        duration(settings.interval_ms)
    );
    let rows = containers(summary).into_iter().map(|container| Row {
        label: container.clone(),
        container,
        number: |usage| usage.cpu.trimmed_mean,
    });
    phases(summary, screen, (&title, Unit::Millicores), rows.collect())
}

pub(super) fn memory(summary: &Summary, screen: Screen) -> String {
    let anon = containers(summary).into_iter().map(|container| Row {
        label: format!("{container}, anonymous"),
        container,
        number: |usage| usage.memory.anon.value,
    });
    let of_pod: [(&str, Number); 3] = [
        ("pod, working set", |usage| usage.memory.working_set.value),
        ("pod, current", |usage| usage.memory.current.value),
        ("pod, peak", |usage| usage.memory.peak.value),
    ];
    let of_pod = of_pod.map(|(label, number)| Row {
        label: label.into(),
        container: POD.into(),
        number,
    });
    let rows = anon.chain(of_pod).collect();
    phases(summary, screen, ("Memory, MiB", Unit::Bytes), rows)
}

struct Row {
    label: String,
    container: String,
    number: Number,
}

/// A grid with a column for each strategy's phases; means over the rounds.
fn phases(summary: &Summary, screen: Screen, (title, unit): (&str, Unit), rows: Vec<Row>) -> String {
    let strategies = &summary.settings.strategies;
    let columns: Vec<(&String, Segment)> = strategies
        .iter()
        .flat_map(|strategy| [(strategy, Segment::Before), (strategy, Segment::After)])
        .collect();
    let header = columns
        .iter()
        .map(|(strategy, segment)| format!("{strategy}\n{segment}"));
    let mut grid = grid(screen, 1, std::iter::once(String::new()).chain(header));
    for row in rows {
        let numbers = columns.iter().map(|(strategy, segment)| {
            let over_rounds = average(summary, strategy, *segment, &row);
            over_rounds.map_or_else(|| NONE.to_owned(), |value| plain(value, unit))
        });
        grid.add_row(std::iter::once(row.label.clone()).chain(numbers));
    }
    titled(title, screen, &grid)
}

fn average(summary: &Summary, strategy: &str, segment: Segment, row: &Row) -> Option<f64> {
    let of_leg = |leg: &LegSummary| {
        let phase = if segment == Segment::Before {
            &leg.before
        } else {
            &leg.after
        };
        let phase = phase.value.as_ref()?;
        let usage = if row.container == POD {
            Some(&phase.total)
        } else {
            phase.containers.get(&row.container)
        };
        (row.number)(usage?)
    };
    let legs = summary.legs.iter().filter(|leg| leg.strategy == strategy);
    mean(&legs.filter_map(of_leg).collect::<Vec<_>>())
}

/// Every container that was read in a phase, and the pod.
fn containers(summary: &Summary) -> Vec<String> {
    let phases = summary.legs.iter().flat_map(|leg| [&leg.before, &leg.after]);
    let mut names: Vec<String> = phases
        .filter_map(|phase| phase.value.as_ref())
        .flat_map(|phase| phase.containers.keys().cloned())
        .collect();
    names.sort();
    names.dedup();
    names.push(POD.into());
    names
}

pub(super) fn metrics(summary: &Summary, screen: Screen) -> String {
    let grids = summary.comparisons.iter().map(|comparison| {
        let [baseline, candidate] = [&comparison.baseline, &comparison.candidate].map(Clone::clone);
        let mut header = vec![
            String::new(),
            baseline,
            candidate,
            "saved".into(),
            "reduction".into(),
        ];
        if screen.width >= WIDE {
            header.push("window".into());
        }
        let mut grid = grid(screen, 1, header);
        for metric in &comparison.metrics {
            grid.add_row(metric_row(metric, summary, screen));
        }
        titled(
            "What the migration costs (reduction with its 95 % interval)",
            screen,
            &grid,
        )
    });
    grids.collect::<Vec<_>>().join("\n\n")
}

/// Where there is no room for its column, the window stands below the metric's name.
fn metric_row(metric: &Metric, summary: &Summary, screen: Screen) -> Vec<String> {
    let number = |figure: &Figure| or_none(figure, |value| with_unit(*value, metric.unit));
    let bounds = metric
        .interval95
        .value
        .map(|bounds| format!("\n{}", interval(bounds)));
    let (name, window) = (metric.label, window(metric.window, summary));
    let wide = screen.width >= WIDE;
    let mut row = vec![
        if wide {
            name.to_owned()
        } else {
            format!("{name}\n({window})")
        },
        number(&metric.baseline),
        number(&metric.candidate),
        number(&metric.saved),
        or_none(&metric.reduction, |share| percent(*share)) + &bounds.unwrap_or_default(),
    ];
    row.extend(wide.then_some(window));
    row
}

fn window(window: Window, summary: &Summary) -> String {
    match window {
        Window::Horizon => duration(summary.settings.horizon_ms),
        Window::After | Window::Steady | Window::Migration => window.to_string(),
    }
}

/// One round says nothing that the metrics have not said.
pub(super) fn rounds(summary: &Summary, screen: Screen) -> String {
    let grids = summary
        .comparisons
        .iter()
        .filter(|_| summary.rounds > 1)
        .filter_map(|comparison| {
            let judged = comparison.metrics.first()?;
            let header = [
                "round",
                "first",
                "direction",
                &comparison.baseline,
                &comparison.candidate,
                "reduction",
            ];
            let mut grid = grid(screen, 3, header.map(str::to_owned));
            for pair in &judged.rounds {
                let legs = summary.legs.iter().filter(|leg| leg.round == pair.round);
                let first = legs.min_by_key(|leg| leg.position);
                grid.add_row([
                    pair.round.to_string(),
                    first.map_or_else(String::new, |leg| leg.strategy.clone()),
                    first.map_or_else(String::new, |leg| format!("{} →\n{}", leg.source, leg.target)),
                    with_unit(pair.baseline, judged.unit),
                    with_unit(pair.candidate, judged.unit),
                    pair.reduction.map_or_else(|| NONE.into(), percent),
                ]);
            }
            let title = format!("{} after the migration, by round", judged.label);
            Some(titled(&title, screen, &grid))
        });
    grids.collect::<Vec<_>>().join("\n\n")
}

/// The first `names` columns hold words, the others numbers.
fn grid(screen: Screen, names: usize, header: impl IntoIterator<Item = String>) -> Table {
    let mut grid = Table::new();
    grid.load_style(UTF8_HORIZONTAL_ONLY);
    grid.style_mut().row_separator = comfy_table::LineStyle::none();
    grid.force_no_tty()
        .set_width(screen.width)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.into_iter().collect::<Vec<_>>());
    for column in grid.column_iter_mut().skip(names) {
        column.set_cell_alignment(CellAlignment::Right);
        // Names may be broken, numbers must not, unless there is really no room.
        if screen.width >= ROOM {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    grid
}

fn titled(title: &str, screen: Screen, grid: &Table) -> String {
    format!("{}\n{}", wrap(title, screen.width, "  "), grid.trim_fmt())
}
