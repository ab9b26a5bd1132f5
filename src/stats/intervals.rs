//! The intervals of a metric over the rounds, by what is compared: shares, differences, or nothing but the candidate.

use super::{
    mean::mean, metric::Scale, paired_t::interval, reduction::of_log_ratio, round_pair::RoundPair,
    view::Figure,
};

const ONE_ROUND: &str = "1 round has no error estimate";
const BY_DIFFERENCE: &str = "compared by difference: a number is missing or 0";
pub(super) const NOT_COMPARED: &str = "the baseline has nothing to compare it with";

/// How a metric is compared over how many rounds.
pub(super) struct Intervals {
    pub(super) scale: Scale,
    /// All of them, whether or not they have the metric.
    pub(super) rounds: usize,
}

impl Intervals {
    /// An interval over some of the rounds would hide the others.
    fn over(&self, values: &[f64]) -> Figure<[f64; 2]> {
        if self.rounds < 2 {
            return Figure::unknown(ONE_ROUND);
        }
        let found = (values.len() == self.rounds).then(|| interval(values)).flatten();
        let reason = match self.scale {
            Scale::Difference => BY_DIFFERENCE,
            Scale::Ratio | Scale::Own => "undefined: a number is missing or 0",
        };
        Figure::or_reason(found, reason)
    }

    pub(super) fn of_share(&self, pairs: &[RoundPair]) -> Figure<[f64; 2]> {
        if self.scale == Scale::Own {
            return Figure::unknown(NOT_COMPARED);
        }
        self.over(&ratios(pairs))
            .map(|[low, high]| [of_log_ratio(*high), of_log_ratio(*low)])
    }

    /// The share that the mean log ratio stands for.
    pub(super) fn mean_share(&self, pairs: &[RoundPair]) -> Figure {
        let ratios = ratios(pairs);
        let all = (ratios.len() == self.rounds).then(|| mean(&ratios)).flatten();
        Figure::or_reason(all.map(of_log_ratio), BY_DIFFERENCE)
    }

    pub(super) fn of_difference(&self, pairs: &[RoundPair]) -> Figure<[f64; 2]> {
        match self.scale {
            Scale::Ratio => Figure::unknown("compared by ratio"),
            Scale::Own => Figure::unknown(NOT_COMPARED),
            Scale::Difference => {
                let saved = pairs.iter().map(|pair| pair.baseline - pair.candidate);
                self.over(&saved.collect::<Vec<_>>())
            }
        }
    }

    pub(super) fn of_candidate(&self, candidates: &[(u32, f64)]) -> Figure<[f64; 2]> {
        if self.scale != Scale::Own {
            return Figure::unknown("compared with the baseline");
        }
        let numbers: Vec<f64> = candidates.iter().map(|(_, number)| *number).collect();
        self.over(&numbers)
    }
}

/// The log ratios of the rounds that have them.
pub(super) fn ratios(pairs: &[RoundPair]) -> Vec<f64> {
    pairs.iter().filter_map(RoundPair::log_ratio).collect()
}
