//! Errors as Kubernetes says them: `Status` objects.

use std::fmt;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// How a kind of object is called in errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    /// Empty for the core group.
    pub(crate) group: &'a str,
    pub(crate) plural: &'a str,
    pub(crate) kind: &'a str,
}

impl Names<'_> {
    /// `pods`, `migrations.migbench.io`.
    pub(crate) fn qualified(self) -> String {
        qualify(self.plural, self.group)
    }

    fn details(self, name: &str, kind: &str) -> Value {
        let mut details = json!({"name": name, "kind": kind});
        if !self.group.is_empty() {
            details["group"] = json!(self.group);
        }
        details
    }
}

fn qualify(name: &str, group: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{name}.{group}")
    }
}

/// An answer that is not what was asked for: its HTTP code and what makes up its `Status` body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) code: StatusCode,
    reason: &'static str,
    pub(crate) message: String,
    details: Option<Box<Value>>,
}

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    reason: &'static str,
    message: String,
    field: String,
}

impl Cause {
    /// A field that must be there and is not.
    pub(crate) fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = if detail.is_empty() {
            "Required value".into()
        } else {
            format!("Required value: {detail}")
        };
        Self::new("FieldValueRequired", field, message)
    }

    /// A field whose value breaks a rule.
    pub(crate) fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new(
            "FieldValueInvalid",
            field,
            format!("Invalid value: {value}: {detail}"),
        )
    }

    /// A value that occurs twice.
    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::new("FieldValueDuplicate", field, format!("Duplicate value: {value}"))
    }

    /// A value outside a fixed set.
    pub(crate) fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let supported: Vec<_> = supported.iter().map(|word| format!("\"{word}\"")).collect();
        let message = format!(
            "Unsupported value: {value}: supported values: {}",
            supported.join(", ")
        );
        Self::new("FieldValueNotSupported", field, message)
    }

    /// A name that refers to nothing.
    pub(crate) fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self::new("FieldValueNotFound", field, format!("Not found: {value}"))
    }

    /// A change that is not allowed.
    pub(crate) fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new("FieldValueForbidden", field, format!("Forbidden: {detail}"))
    }

    /// More than there may be.
    pub(crate) fn too_long(field: impl Into<String>, bytes: usize) -> Self {
        let message = format!("Too long: may not be more than {bytes} bytes");
        Self::new("FieldValueTooLong", field, message)
    }

    /// Path of the field.
    #[cfg(test)]
    pub(crate) fn field(&self) -> &str {
        &self.field
    }

    /// A field that another manager owns.
    pub(crate) fn manager_conflict(field: impl Into<String>, manager: &str) -> Self {
        Self::new("FieldManagerConflict", field, format!("conflict with {manager}"))
    }

    fn new(reason: &'static str, field: impl Into<String>, message: String) -> Self {
        Self {
            reason,
            message,
            field: field.into(),
        }
    }

    /// The field and what is wrong with it.
    pub(crate) fn into_parts(self) -> (String, String) {
        (self.field, self.message)
    }

    fn to_json(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{}: {}", self.field, self.message)
    }
}

impl ApiError {
    /// 404: no object of that name.
    pub(crate) fn not_found(names: Names<'_>, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", names.qualified());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(names, name)
    }

    /// 404: no such path.
    pub(crate) fn unknown_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).with_details(json!({}))
    }

    /// 409: the name is taken.
    pub(crate) fn already_exists(names: Names<'_>, name: &str, terminating: bool) -> Self {
        let prefix = if terminating {
            "object is being deleted: "
        } else {
            ""
        };
        let message = format!("{prefix}{} \"{name}\" already exists", names.qualified());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(names, name)
    }

    /// 409: written with an outdated `resourceVersion`.
    pub(crate) fn modified(names: Names<'_>, name: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": the object has been modified; please apply your changes \
             to the latest version and try again",
            names.qualified()
        );
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(names, name)
    }

    /// 409: a precondition of a delete does not hold.
    pub(crate) fn precondition(names: Names<'_>, name: &str, detail: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {detail}",
            names.kind
        );
        Self::new(StatusCode::CONFLICT, "Conflict", message)
            .with_details(json!({"name": name, "kind": names.kind}))
    }

    /// 409: server-side apply met fields that others own.
    pub(crate) fn apply_conflict(message: &str, causes: &[Cause]) -> Self {
        let causes: Vec<_> = causes.iter().map(Cause::to_json).collect();
        Self::new(StatusCode::CONFLICT, "Conflict", message).with_details(json!({"causes": causes}))
    }

    /// 422: the object breaks the rules of its kind.
    pub(crate) fn invalid(names: Names<'_>, name: &str, causes: &[Cause]) -> Self {
        let details = names.details(name, names.kind);
        Self::invalid_with(&qualify(names.kind, names.group), name, causes, details)
    }

    /// 422: the options of the request break the rules.
    pub(crate) fn invalid_options(kind: &str, causes: &[Cause]) -> Self {
        let details = json!({"group": "meta.k8s.io", "kind": kind});
        Self::invalid_with(&format!("{kind}.meta.k8s.io"), "", causes, details)
    }

    fn invalid_with(kind: &str, name: &str, causes: &[Cause], mut details: Value) -> Self {
        let listed: Vec<_> = causes.iter().map(ToString::to_string).collect();
        let listed = match listed.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        details["causes"] = causes.iter().map(Cause::to_json).collect();
        let message = format!("{kind} \"{name}\" is invalid: {listed}");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).with_details(details)
    }

    /// 422: a JSON patch that could not be applied.
    pub(crate) fn unprocessable_patch() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).with_details(json!({}))
    }

    /// 400.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401.
    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 403.
    pub(crate) fn forbidden(names: Names<'_>, name: &str, why: &str) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", names.qualified());
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(names, name)
    }

    /// 405.
    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).with_details(json!({}))
    }

    /// 410: the version asked for is no longer known.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 415.
    pub(crate) fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            message,
        )
    }

    /// 500.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// 503.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// 501.
    pub(crate) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
    }

    /// 500 without a reason: what a create with a `resourceVersion` gets.
    pub(crate) fn version_on_create() -> Self {
        let message = "resourceVersion should not be set on objects to be created";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "", message)
    }

    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
        }
    }

    fn about(self, names: Names<'_>, name: &str) -> Self {
        self.with_details(names.details(name, names.plural))
    }

    /// Replace the details.
    pub(crate) fn with_details(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// The `Status` object.
    pub(crate) fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code.as_u16(),
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = details.as_ref().clone();
        }
        status
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.code, Json(self.to_status())).into_response()
    }
}

/// The answer to a delete that returns no object.
pub(crate) fn success(names: Names<'_>, name: &str, uid: &str) -> Value {
    let mut details = names.details(name, names.plural);
    details["uid"] = json!(uid);
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
