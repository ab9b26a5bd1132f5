//! Creating.

use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{WriteOptions, metadata_of, refuse, settle_namespace, text, validate};
use crate::embedded::api::{
    apply, clock,
    kinds::{fields, namespace::is_terminating},
    names, resource,
    status::ApiError,
    store::{Key, Object, State},
    target::Target,
};

/// What a client may say in vain: the server decides it.
const SERVER_OWNED: [&str; 6] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
];

/// Create an object in the target's collection.
pub(crate) fn create(
    state: &mut State,
    target: &Target,
    mut object: Value,
    options: &WriteOptions,
) -> Result<Object, ApiError> {
    settle_namespace(target, &mut object)?;
    settle_name(target, &mut object)?;
    admit(state, target, text(&object, "/metadata/name"))?;
    if !text(&object, "/metadata/resourceVersion").is_empty() {
        return Err(ApiError::version_on_create());
    }
    complete(target, &mut object, options)?;
    validate(target, &object)?;
    if !options.own {
        refuse(
            target,
            text(&object, "/metadata/name"),
            &fields::undone(&target.resource.kind, &object),
        )?;
    }
    let name = text(&object, "/metadata/name").to_owned();
    let key = target.key(&name);
    if let Some(present) = state.get(&key) {
        let terminating = present.pointer("/metadata/deletionTimestamp").is_some();
        return Err(ApiError::already_exists(
            target.resource.names(),
            &name,
            terminating,
        ));
    }
    if options.dry_run {
        return Ok(Object::new(object));
    }
    Ok(state.put(key, object))
}

fn settle_name(target: &Target, object: &mut Value) -> Result<(), ApiError> {
    let generate = text(object, "/metadata/generateName").to_owned();
    let metadata = metadata_of(object)?;
    let stated = metadata
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if let Some(name) = &target.name {
        if !stated.is_empty() && stated != *name {
            return Err(name_mismatch(&stated, name));
        }
        metadata.insert("name".into(), json!(name));
    } else if stated.is_empty() && !generate.is_empty() {
        metadata.insert("name".into(), json!(names::generate(&generate)));
    }
    Ok(())
}

/// 400: body and path disagree.
pub(super) fn name_mismatch(stated: &str, name: &str) -> ApiError {
    let message = format!("the name of the object ({stated}) does not match the name on the URL ({name})");
    ApiError::bad_request(message)
}

/// The namespace must be there, and must not be on its way out.
fn admit(state: &State, target: &Target, name: &str) -> Result<(), ApiError> {
    let Some(namespace) = &target.namespace else {
        return Ok(());
    };
    let namespaces = resource::of::<Namespace>();
    let Some(present) = state.get(&Key::new(namespaces.qualified(), "", namespace)) else {
        return Err(ApiError::not_found(namespaces.names(), namespace));
    };
    if !is_terminating(present) {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let cause = json!({
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    });
    let details = json!({"name": name, "kind": target.resource.plural, "causes": [cause]});
    Err(ApiError::forbidden(target.resource.names(), name, &why).with_details(details))
}

fn complete(target: &Target, object: &mut Value, options: &WriteOptions) -> Result<(), ApiError> {
    let resource = &target.resource;
    let metadata = metadata_of(object)?;
    for field in SERVER_OWNED {
        metadata.remove(field);
    }
    metadata.remove("resourceVersion");
    metadata.insert("uid".into(), json!(Uuid::new_v4()));
    metadata.insert("creationTimestamp".into(), json!(clock::now()));
    if resource.rules.counts_generations() {
        metadata.insert("generation".into(), json!(1));
    }
    if resource.has_status {
        object.as_object_mut().map(|fields| fields.remove("status"));
    }
    resource.rules.default(object);
    if !options.applied {
        apply::track(None, object, options.writer(target));
    }
    resource.rules.prepare(object);
    Ok(())
}
