//! What a path names.

use std::sync::Arc;

use super::{
    resource::{self, Resource},
    status::ApiError,
    store::{Key, State},
};

/// A collection, an object, or a subresource of one.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) resource: Arc<Resource>,
    /// None for cluster-scoped objects and for collections over all namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Target {
    /// Read the part of a path after `/api/v1/` or `/apis/<group>/<version>/`.
    pub(crate) fn parse(state: &State, group: &str, version: &str, path: &str) -> Result<Self, ApiError> {
        let parts: Vec<_> = path.trim_end_matches('/').split('/').collect();
        let (namespace, parts) = match parts.as_slice() {
            // `namespaces/x/status` is a subresource of the namespace, anything else lies in it.
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && !is_of_namespace(rest) => {
                (Some((*namespace).to_owned()), rest)
            }
            all => (None, all),
        };
        let (plural, name, subresource) = match parts {
            [plural] => (*plural, None, None),
            [plural, name] => (*plural, Some(*name), None),
            [plural, name, subresource] => (*plural, Some(*name), Some(*subresource)),
            _ => return Err(ApiError::unknown_resource()),
        };
        let resource =
            resource::find(state, group, version, plural).ok_or_else(ApiError::unknown_resource)?;
        let misplaced = resource.namespaced && namespace.is_none() && name.is_some();
        if misplaced || (!resource.namespaced && namespace.is_some()) {
            return Err(ApiError::unknown_resource());
        }
        Ok(Self {
            resource,
            namespace,
            name: name.map(Into::into),
            subresource: subresource.map(Into::into),
        })
    }

    /// The collection of a cluster-scoped resource, or of a namespaced one over all namespaces.
    pub(crate) fn cluster(resource: &Arc<Resource>) -> Self {
        Self {
            resource: resource.clone(),
            namespace: None,
            name: None,
            subresource: None,
        }
    }

    /// The stored object of a key; none when its resource is no longer defined.
    pub(crate) fn of_key(state: &State, key: &Key) -> Option<Self> {
        let resource = resource::of_key(state, key)?;
        let namespace = resource.namespaced.then(|| key.namespace.clone());
        Some(Self {
            resource,
            namespace,
            name: Some(key.name.clone()),
            subresource: None,
        })
    }

    /// The key of the object of this name there.
    pub(crate) fn key(&self, name: &str) -> Key {
        Key::new(
            self.resource.qualified(),
            self.namespace.as_deref().unwrap_or_default(),
            name,
        )
    }

    /// The object the path names; an error for collections.
    pub(crate) fn object_key(&self) -> Result<Key, ApiError> {
        self.name
            .as_deref()
            .map(|name| self.key(name))
            .ok_or_else(ApiError::method_not_allowed)
    }

    /// 404 about the object.
    pub(crate) fn not_found(&self) -> ApiError {
        ApiError::not_found(self.resource.names(), self.name.as_deref().unwrap_or_default())
    }

    /// The same object of the collection.
    pub(crate) fn with_name(&self, name: &str) -> Self {
        Self {
            name: Some(name.into()),
            ..self.clone()
        }
    }
}

fn is_of_namespace(rest: &[&str]) -> bool {
    matches!(rest, ["status" | "finalize"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::api::store::{Store, Window};

    /// `resource in namespace: name/subresource`, with `-` for what is missing.
    fn parsed(path: &str) -> Option<String> {
        let window = Window { changes: 1, bytes: 0 };
        Store::new(window).read(|state| {
            let target = Target::parse(state, "", "v1", path).ok()?;
            let or_dash = |part: Option<String>| part.unwrap_or("-".into());
            let [namespace, name, subresource] =
                [target.namespace, target.name, target.subresource].map(or_dash);
            Some(format!(
                "{} in {namespace}: {name}/{subresource}",
                target.resource.plural
            ))
        })
    }

    #[test]
    fn paths_name_collections_objects_and_subresources() {
        for (path, meaning) in [
            ("pods", "pods in -: -/-"),
            ("namespaces/n/pods/p/log", "pods in n: p/log"),
            ("namespaces/n", "namespaces in -: n/-"),
            ("namespaces/n/status", "namespaces in -: n/status"),
            ("nodes/x/status", "nodes in -: x/status"),
        ] {
            assert_eq!(parsed(path).as_deref(), Some(meaning), "{path}");
        }
    }

    #[test]
    fn scope_must_fit() {
        assert_eq!(parsed("namespaces/n/nodes"), None);
        assert_eq!(parsed("pods/p"), None);
        assert_eq!(parsed("namespaces/n/nosuch"), None);
    }
}
