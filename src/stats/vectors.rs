//! The reference numbers of `tests/vectors/statistics.json` (numpy and scipy), for the tests beside each statistic.

use serde_json::Value;

static VECTORS: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| {
    serde_json::from_str(include_str!("../../tests/vectors/statistics.json")).unwrap()
});

/// Relative tolerance that the file asks for.
const TOLERANCE: f64 = 1e-9;

pub(super) struct PhaseVector {
    pub values: Vec<f64>,
    stats: &'static Value,
}

impl PhaseVector {
    fn new(pair: &'static Value, arm: &str) -> Self {
        Self {
            values: numbers(&pair[arm]),
            stats: &pair[format!("{arm}_stats")],
        }
    }

    pub(super) fn stat(&self, name: &str) -> f64 {
        self.stats[name].as_f64().unwrap_or_else(|| panic!("no {name}"))
    }
}

impl PhaseVector {
    pub(super) fn bounds(&self, name: &str) -> [f64; 2] {
        numbers(&self.stats[name]).try_into().unwrap()
    }
}

pub(super) struct RoundsVector {
    pub name: &'static str,
    pub log_ratios: Vec<f64>,
    case: &'static Value,
}

impl RoundsVector {
    pub(super) fn number(&self, name: &str) -> f64 {
        self.case[name].as_f64().unwrap_or_else(|| panic!("no {name}"))
    }

    pub(super) fn numbers(&self, name: &str) -> Vec<f64> {
        numbers(&self.case[name])
    }

    pub(super) fn text(&self, name: &str) -> &'static str {
        self.case[name].as_str().unwrap()
    }
}

pub(super) fn phases() -> Vec<PhaseVector> {
    phase_pairs()
        .flat_map(|(native, orchestrator, _)| [native, orchestrator])
        .collect()
}

pub(super) fn phase_pairs() -> impl Iterator<Item = (PhaseVector, PhaseVector, &'static Value)> {
    list("phases").iter().map(|pair| {
        (
            PhaseVector::new(pair, "native"),
            PhaseVector::new(pair, "orchestrator"),
            pair,
        )
    })
}

pub(super) fn rounds() -> Vec<RoundsVector> {
    list("rounds")
        .iter()
        .map(|case| RoundsVector {
            name: case["name"].as_str().unwrap(),
            log_ratios: numbers(&case["log_ratios"]),
            case,
        })
        .collect()
}

pub(super) fn edge_case(name: &str) -> &'static Value {
    list("edge_cases")
        .iter()
        .find(|case| case["name"] == name)
        .unwrap()
}

pub(super) fn t_quantiles() -> impl Iterator<Item = (usize, &'static Value)> {
    let table = VECTORS["student_t_quantiles"].as_object().unwrap();
    table
        .iter()
        .map(|(degrees, expected)| (degrees.parse().unwrap(), expected))
}

/// (sd, reduction, rounds)
pub(super) fn required_rounds_table() -> Vec<(f64, f64, usize)> {
    let reductions = numbers(&VECTORS["required_rounds"]["reductions"]);
    let table = VECTORS["required_rounds"]["table"].as_object().unwrap();
    table
        .iter()
        .flat_map(|(sd, row)| {
            let sd: f64 = sd.parse().unwrap();
            let rounds = row
                .as_array()
                .unwrap()
                .iter()
                .map(|value| usize::try_from(value.as_u64().unwrap()).unwrap());
            reductions
                .iter()
                .zip(rounds)
                .map(move |(reduction, rounds)| (sd, *reduction, rounds))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Log ratios of seven measured rounds.
pub(super) fn measured_example() -> Vec<f64> {
    let example = &VECTORS["measured_example"];
    let native = numbers(&example["native_trimmed_means"]);
    let orchestrator = numbers(&example["orchestrator_trimmed_means"]);
    native
        .iter()
        .zip(orchestrator)
        .map(|(native, orchestrator)| (orchestrator / native).ln())
        .collect()
}

fn list(name: &str) -> &'static Vec<Value> {
    VECTORS[name].as_array().unwrap()
}

fn numbers(of: &Value) -> Vec<f64> {
    of.as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_f64().unwrap())
        .collect()
}

/// A case with the phases of both arms: trimmed means, or what stands in their place.
pub(super) fn edge_phase(name: &str, arm: &str) -> Vec<f64> {
    numbers(&edge_case(name)[arm])
}

/// The trimmed means of seven measured rounds, with the samples that they are made of.
pub(super) fn measured_phases() -> Vec<(Vec<f64>, f64)> {
    let example = &VECTORS["measured_example"];
    let rounds = example["samples"].as_array().unwrap();
    let means = |name: &str| numbers(&example[name]);
    let arms = [
        ("N", means("native_trimmed_means")),
        ("O", means("orchestrator_trimmed_means")),
    ];
    let of = |(arm, means): (&str, Vec<f64>)| -> Vec<_> {
        let samples = rounds.iter().map(|round| numbers(&round[arm]));
        samples.zip(means).collect()
    };
    arms.into_iter().flat_map(of).collect()
}

/// A number of the measured example.
pub(super) fn measured(name: &str) -> Vec<f64> {
    let value = &VECTORS["measured_example"][name];
    value
        .as_f64()
        .map_or_else(|| numbers(value), |number| vec![number])
}

pub(super) fn close(found: Option<f64>, expected: f64) {
    within(found, expected, TOLERANCE);
}

pub(super) fn within(found: Option<f64>, expected: f64, tolerance: f64) {
    let found = found.expect("a value");
    assert!(
        (found - expected).abs() <= tolerance * expected.abs(),
        "{found} is not {expected}"
    );
}
