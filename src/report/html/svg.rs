//! The ground of the charts: scales, axes, and a frame with a text for those who do not see it.

use maud::{Markup, html};

/// Width of every chart in its own units; a page may show it wider or narrower.
pub(super) const WIDTH: f64 = 480.0;

/// Room on the left for names.
pub(super) const LEFT: f64 = 132.0;

/// Room on the right.
pub(super) const RIGHT: f64 = 14.0;

/// Characters of a name that fit on the left.
const NAME: usize = 20;

/// From numbers to places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// Numbers between `from` and `to`, between the places `start` and `end`. Where all numbers are one, it is in the
    /// middle of some.
    pub(super) fn new([from, to]: [f64; 2], [start, end]: [f64; 2]) -> Self {
        let (from, to) = if to - from > 1e-9 {
            (from, to)
        } else {
            (from - 0.5, from + 0.5)
        };
        Self { from, to, start, end }
    }

    /// Across a chart.
    pub(super) fn across(range: [f64; 2]) -> Self {
        Self::new(range, [LEFT, WIDTH - RIGHT])
    }

    /// The place of a number.
    pub(super) fn at(&self, number: f64) -> f64 {
        let share = (number - self.from) / (self.to - self.from);
        self.start + share.clamp(-0.05, 1.05) * (self.end - self.start)
    }

    /// About five round numbers within it.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let rough = (self.to - self.from) / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * power)
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let first = (self.from / step).ceil();
        (0..10)
            .map(|tick| (first + f64::from(tick)) * step)
            .take_while(|number| *number <= self.to + step * 1e-6)
            .collect()
    }
}

/// A chart: what it is called, what it shows in words, how high it is, and what is drawn.
pub(super) fn chart(title: &str, description: &str, height: f64, drawn: &Markup) -> Markup {
    html! {
        figure {
            svg role="img" aria-label={ (title) ". " (description) } viewBox={ "0 0 " (WIDTH) " " (height) } {
                title { (title) }
                desc { (description) }
                (drawn)
            }
            figcaption { (title) }
        }
    }
}

/// An axis below a chart, with lines up to the top.
pub(super) fn bottom_axis(scale: &Scale, [top, bottom]: [f64; 2], unit: &str) -> Markup {
    html! {
        @for tick in scale.ticks() {
            line .axis x1=(place(scale.at(tick))) x2=(place(scale.at(tick))) y1=(place(top)) y2=(place(bottom)) {}
            text .muted x=(place(scale.at(tick))) y=(place(bottom + 14.0)) text-anchor="middle" { (number(tick)) }
        }
        text .muted x=(place(LEFT - 8.0)) y=(place(bottom + 14.0)) text-anchor="end" { (unit) }
    }
}

/// An axis beside a chart, with lines across it.
pub(super) fn left_axis(scale: &Scale) -> Markup {
    html! {
        @for tick in scale.ticks() {
            line .axis x1=(place(LEFT)) x2=(place(WIDTH - RIGHT)) y1=(place(scale.at(tick))) y2=(place(scale.at(tick))) {}
            text .muted x=(place(LEFT - 6.0)) y=(place(scale.at(tick) + 4.0)) text-anchor="end" { (number(tick)) }
        }
    }
}

/// A name to the left of a row; what is too long ends with dots, and is in full in the table.
pub(super) fn name(words: &str, y: f64) -> Markup {
    let shown = if words.chars().count() > NAME {
        words.chars().take(NAME - 1).chain(['…']).collect()
    } else {
        words.to_owned()
    };
    html! { text x=(place(LEFT - 8.0)) y=(place(y)) text-anchor="end" { (shown) } }
}

/// A coordinate, short.
pub(super) fn place(coordinate: f64) -> String {
    let text = format!("{coordinate:.1}");
    text.trim_end_matches(".0").to_owned()
}

fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(
            Scale::across([0.0, 100.0]).ticks(),
            [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
        );
        assert_eq!(Scale::across([-3.0, 7.0]).ticks(), [-2.0, 0.0, 2.0, 4.0, 6.0]);
        let all_one = Scale::across([5.0, 5.0]);
        assert_eq!(place(all_one.at(5.0)), place(LEFT.midpoint(WIDTH - RIGHT)));
    }
}
