//! The grids: CPU and memory by container, the metrics, and the rounds. Where a number is missing stands a dash with a
//! number of its own, and the reason below the grid.

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY,
};

use crate::{
    record::reading::Segment,
    report::{
        Screen,
        containers::{self, Row},
        notes::Notes,
        number::{duration, percent, plain, with_unit},
        row::{Row as MetricRow, rows},
    },
    stats::{metric::Unit, summary::Summary},
    wrap::wrap,
};

/// Columns that the numbers of the widest grid need beside a name.
const ROOM: u16 = 72;

/// Columns from which on windows have a column of their own.
const WIDE: u16 = 92;

/// Columns from which on intervals have one as well.
const WIDEST: u16 = 116;

pub(super) fn cpu(summary: &Summary, screen: Screen) -> String {
    let settings = &summary.settings;
    let title = format!(
        "CPU, millicores: trimmed mean ({} + {}) of {} samples of {}",
        settings.trim,
        settings.trim,
        settings.samples,
        duration(settings.interval_ms)
    );
    phases(
        summary,
        screen,
        (&title, Unit::Millicores),
        &containers::cpu(summary),
    )
}

pub(super) fn memory(summary: &Summary, screen: Screen) -> String {
    let mut rows = containers::anonymous(summary, ", anonymous");
    rows.extend(containers::memory_of_pod());
    phases(summary, screen, ("Memory, MiB", Unit::Bytes), &rows)
}

/// A grid with a column for each strategy's phases; means over the rounds.
fn phases(summary: &Summary, screen: Screen, (title, unit): (&str, Unit), rows: &[Row]) -> String {
    let strategies = &summary.settings.strategies;
    let columns: Vec<(&String, Segment)> = strategies
        .iter()
        .flat_map(|strategy| [(strategy, Segment::Before), (strategy, Segment::After)])
        .collect();
    let header = columns
        .iter()
        .map(|(strategy, segment)| format!("{strategy}\n{segment}"));
    let mut grid = grid(screen, 1, std::iter::once(String::new()).chain(header));
    let mut notes = Notes::default();
    for row in rows {
        let numbers = columns.iter().map(|(strategy, segment)| {
            let over_rounds = row.mean(summary, strategy, *segment);
            notes.or_mark(over_rounds.map(|value| plain(value, unit)))
        });
        let numbers: Vec<String> = numbers.collect();
        grid.add_row(std::iter::once(row.label.clone()).chain(numbers));
    }
    titled(title, screen, &grid) + &notes.below(screen)
}

pub(super) fn metrics(summary: &Summary, screen: Screen) -> String {
    let grids = summary.comparisons.iter().map(|comparison| {
        let mut header = vec![
            String::new(),
            comparison.baseline.clone(),
            comparison.candidate.clone(),
            "saved or\nratio".into(),
        ];
        if screen.width >= WIDEST {
            header.push("95 %\ninterval".into());
        }
        if screen.width >= WIDE {
            header.push("window".into());
        }
        let mut grid = grid(screen, 1, header);
        let mut notes = Notes::default();
        for row in rows(comparison, summary) {
            grid.add_row(metric_row(row, screen, &mut notes));
        }
        let title = "What the migration costs: means over the rounds, and what is saved with its 95 % interval (shares and \
                     ratios of the mean log ratio); what is not compared has the interval of its own mean";
        titled(title, screen, &grid) + &notes.below(screen)
    });
    grids.collect::<Vec<_>>().join("\n\n")
}

/// Where there is no room for their columns, the window stands below the metric's name, and the interval below the change.
fn metric_row(row: MetricRow, screen: Screen, notes: &mut Notes) -> Vec<String> {
    let wide = screen.width >= WIDE;
    let widest = screen.width >= WIDEST;
    let bounds = row.interval.unwrap_or_default();
    let mut cells = vec![
        if wide {
            row.label
        } else {
            format!("{}\n({})", row.label, row.window)
        },
        notes.or_mark(row.baseline),
        notes.or_mark(row.candidate),
    ];
    let change = notes.or_mark(row.change);
    if widest {
        cells.extend([change, bounds]);
    } else if bounds.is_empty() {
        cells.push(change);
    } else {
        cells.push(format!("{change}\n{bounds}"));
    }
    cells.extend(wide.then_some(row.window));
    cells
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
            let mut notes = Notes::default();
            for pair in &judged.rounds {
                let legs = summary.legs.iter().filter(|leg| leg.round == pair.round);
                let first = legs.min_by_key(|leg| leg.position);
                grid.add_row([
                    pair.round.to_string(),
                    first.map_or_else(String::new, |leg| leg.strategy.clone()),
                    first.map_or_else(String::new, |leg| format!("{} →\n{}", leg.source, leg.target)),
                    with_unit(pair.baseline, judged.unit),
                    with_unit(pair.candidate, judged.unit),
                    notes.or_mark(
                        pair.reduction
                            .map(percent)
                            .ok_or_else(|| "the baseline is 0".into()),
                    ),
                ]);
            }
            let title = format!("{} after the migration, by round", judged.label);
            Some(titled(&title, screen, &grid) + &notes.below(screen))
        });
    grids.collect::<Vec<_>>().join("\n\n")
}

/// The first `names` columns hold words, the others numbers.
pub(in crate::report) fn grid(
    screen: Screen,
    names: usize,
    header: impl IntoIterator<Item = String>,
) -> Table {
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
    format!("{}\n{}", wrap(title, screen.width, "  "), trimmed(grid))
}

/// The grid without the blanks at the ends of its lines.
pub(in crate::report) fn trimmed(grid: &Table) -> String {
    grid.trim_fmt()
}
