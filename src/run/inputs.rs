//! What goes into a run, as digests: rounds are comparable only where all of it is the same.

use std::{collections::BTreeMap, fs::File, io};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::scenario::Scenario;

/// SHA-256 of everything that is deployed, and of this program, by name. Images have digests of their own.
pub fn digests(scenario: &Scenario) -> anyhow::Result<BTreeMap<String, String>> {
    let mut program = Sha256::new();
    io::copy(&mut File::open("/proc/self/exe")?, &mut program)?;
    let mut digests = BTreeMap::from([
        ("migbench".to_owned(), format!("{:x}", program.finalize())),
        ("pod".to_owned(), of(&scenario.pod)?),
        ("claims".to_owned(), of(&scenario.claims)?),
    ]);
    for map in &scenario.config_maps {
        let name = map.metadata.name.clone().unwrap_or_default();
        digests.insert(format!("config map {name}"), of(map)?);
    }
    Ok(digests)
}

fn of(object: &impl Serialize) -> anyhow::Result<String> {
    Ok(format!("{:x}", Sha256::digest(serde_json::to_vec(object)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_file_or_an_argument_makes_another_input_and_nothing_else_does() {
        let scenario = Scenario::load("tensorflow", None, &[]).unwrap();
        let before = digests(&scenario).unwrap();
        assert_eq!(digests(&scenario).unwrap(), before);
        let mut other = scenario;
        let file = other.config_maps[0]
            .data
            .as_mut()
            .unwrap()
            .values_mut()
            .next()
            .unwrap();
        file.push('#');
        let after = digests(&other).unwrap();
        let differ: Vec<_> = after
            .iter()
            .filter(|(name, digest)| before[*name] != **digest)
            .collect();
        assert_eq!(differ.len(), 1);
        assert_eq!(differ[0].0, "config map tensorflow-workload");
    }
}
