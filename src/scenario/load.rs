//! Loading: files, overrides, checks.

use k8s_openapi::{
    api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    Error, Phases, Scenario,
    check_files::{check_claim, check_config_map},
    check_pod::Manifest,
    check_settings::Settings,
    document::{Document, escape},
    duration,
    file::ScenarioFile,
    manifest, mount,
    overrides::Overrides,
    source::{SCENARIO_FILE, Source},
};

impl Scenario {
    /// Load and check a scenario: `reference` is the name of an embedded one or a directory, `workload` one of its
    /// workloads (its own choice when `None`), `overrides` are `key=value` with dotted keys of `scenario.yaml`.
    pub fn load(reference: &str, workload: Option<&str>, overrides: &[String]) -> Result<Self, Error> {
        let source = Source::find(reference)?;
        let document = source.read(SCENARIO_FILE).map_err(Error::Invalid)?;
        let overrides = Overrides::parse(overrides)?;
        let own: ScenarioFile = document.parse()?;
        let file = overrides.apply(own.clone())?;
        let settings = Settings {
            document: &document,
            overrides: &overrides,
            file: &file,
        };
        settings.check()?;
        let objects = Objects::read(&source, &settings, workload.unwrap_or(&file.workload))?;
        Ok(objects.into_scenario(file, &own))
    }
}

/// The Kubernetes objects of a scenario, checked.
struct Objects {
    workload: String,
    pod: Pod,
    claims: Vec<PersistentVolumeClaim>,
    config_maps: Vec<ConfigMap>,
}

impl Objects {
    fn read(source: &Source, settings: &Settings<'_>, workload: &str) -> Result<Self, Error> {
        let document = pod_document(source, settings, workload)?;
        let objects = Self {
            workload: workload.to_owned(),
            pod: mount::placed(manifest::parse(&document)?, settings)?,
            claims: claims(source, settings)?,
            config_maps: config_maps(source, settings)?,
        };
        let manifest = Manifest {
            settings,
            document: &document,
            pod: &objects.pod,
            claims: &objects.claims,
            config_maps: &objects.config_maps,
        };
        manifest.check().map(|()| objects)
    }

    fn into_scenario(self, file: ScenarioFile, own: &ScenarioFile) -> Scenario {
        Scenario {
            pod: duration::placed(self.pod, own.processor_duration.map(|span| span.0), &file),
            certified_samples: Phases::from(&own.phases).samples,
            workload: self.workload,
            workloads: file.workloads.into_keys().collect(),
            claims: self.claims,
            config_maps: self.config_maps,
            source: file.nodes.source,
            target: file.nodes.target,
            placement: file.nodes.placement,
            orchestrator: file.orchestrator.settings((&file.deadlines).into()),
            phases: (&file.phases).into(),
            deadlines: (&file.deadlines).into(),
            processor_duration: file.processor_duration.map(|span| span.0),
            name: file.name,
            description: file.description,
            checkpoint_volume: file.checkpoint_volume,
            roles: file.roles,
            target_reduction: file.target_reduction,
        }
    }
}

fn pod_document(source: &Source, settings: &Settings<'_>, workload: &str) -> Result<Document, Error> {
    let workloads = &settings.file.workloads;
    let Some(name) = workloads.get(workload) else {
        let known: Vec<_> = workloads.keys().map(String::as_str).collect();
        let message = format!("no workload {workload:?}: there is {}", known.join(", "));
        return Err(settings.error("/workloads", &message));
    };
    let pointer = format!("/workloads/{}", escape(workload));
    source
        .read(name)
        .map_err(|reason| settings.error(&pointer, &reason))
}

fn claims(source: &Source, settings: &Settings<'_>) -> Result<Vec<PersistentVolumeClaim>, Error> {
    let claim = |(index, name): (usize, &String)| {
        let pointer = format!("/claims/{index}");
        let document = source
            .read(name)
            .map_err(|reason| settings.error(&pointer, &reason))?;
        let claim = manifest::parse(&document)?;
        check_claim(&document, &claim)?;
        Ok(claim)
    };
    settings.file.claims.iter().enumerate().map(claim).collect()
}

fn config_maps(source: &Source, settings: &Settings<'_>) -> Result<Vec<ConfigMap>, Error> {
    let config_map = |(name, directory): (&String, &String)| {
        let pointer = format!("/configMaps/{}", escape(name));
        let files = source
            .read_all(directory)
            .map_err(|reason| settings.error(&pointer, &reason))?;
        check_config_map(settings, name, &files)?;
        Ok(ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                ..ObjectMeta::default()
            },
            data: Some(files),
            ..ConfigMap::default()
        })
    };
    settings.file.config_maps.iter().map(config_map).collect()
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
