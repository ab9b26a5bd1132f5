//! Loading: files, overrides, checks.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{ConfigMap, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    Error, Scenario,
    document::Document,
    file::ScenarioFile,
    manifest,
    source::{SCENARIO_FILE, Source},
};

impl Scenario {
    /// Load and check a scenario: `reference` is the name of an embedded one or a directory, `workload` one of its
    /// workloads (its own choice when `None`), `overrides` are `key=value` with dotted keys of `scenario.yaml`.
    pub fn load(reference: &str, workload: Option<&str>, overrides: &[String]) -> Result<Self, Error> {
        let source = Source::find(reference)?;
        let document = source.read(SCENARIO_FILE)?;
        let file: ScenarioFile = document.parse()?;
        let _ = overrides;
        let workload = workload.unwrap_or(&file.workload).to_owned();
        let pod: Pod = manifest::parse(&pod_document(&source, &document, &file, &workload)?)?;
        let claims = file
            .claims
            .iter()
            .map(|name| manifest::parse(&source.read(name)?))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            workload,
            pod,
            claims,
            config_maps: config_maps(&source, &file.config_maps)?,
            source: file.nodes.source,
            target: file.nodes.target,
            phases: (&file.phases).into(),
            deadlines: (&file.deadlines).into(),
            processor_duration: file.processor_duration.map(|span| span.0),
            name: file.name,
            description: file.description,
            checkpoint_volume: file.checkpoint_volume,
            roles: file.roles,
            target_reduction: file.target_reduction,
        })
    }
}

fn pod_document(
    source: &Source,
    document: &Document,
    file: &ScenarioFile,
    workload: &str,
) -> Result<Document, Error> {
    let name = file.workloads.get(workload).ok_or_else(|| {
        let known: Vec<_> = file.workloads.keys().map(String::as_str).collect();
        document.error_at(
            &["workloads"],
            &format!("no workload {workload:?}: there is {}", known.join(", ")),
        )
    })?;
    source.read(name)
}

fn config_maps(source: &Source, wanted: &BTreeMap<String, String>) -> Result<Vec<ConfigMap>, Error> {
    let config_map = |(name, directory): (&String, &String)| {
        Ok(ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                ..ObjectMeta::default()
            },
            data: Some(source.read_all(directory)?),
            ..ConfigMap::default()
        })
    };
    wanted.iter().map(config_map).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::source;

    #[test]
    fn every_embedded_scenario_loads() {
        for name in source::names() {
            let scenario = Scenario::load(name, None, &[]).unwrap();
            assert_eq!(scenario.name, name);
        }
    }
}
