//! What an API server's refusal means for a user, in words, with what to do about it.

use kube::core::Status;

/// An error of the API in words; where more than one line, the second says what to do.
pub fn of(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => refusal(status),
        kube::Error::Auth(error) => format!(
            "no credentials: {}\n  to do: log in again; `kubectl auth whoami` should answer with the same context",
            chain(error)
        ),
        kube::Error::Service(error) => unsent(&chain(&**error)),
        other => chain(other),
    }
}

/// What the API server said, in the few words that a table has room for.
pub fn brief(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => {
            let message = status.message.trim_end_matches([':', ' ']);
            forbidden(message).unwrap_or_else(|| message.to_owned())
        }
        other => other.to_string(),
    }
}

/// Who is forbidden it is known.
fn forbidden(message: &str) -> Option<String> {
    let (_, rest) = message.split_once(" cannot ")?;
    let (verb, rest) = rest.split_once(" resource \"")?;
    let (resource, _) = rest.split_once('"')?;
    Some(format!("not allowed to {verb} {resource}"))
}

/// What is told of an error together with its causes: the outermost text alone leaves out what went wrong.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut told = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if told.last().is_none_or(|last| !last.contains(&text)) {
            told.push(text);
        }
        cause = error.source();
    }
    told.join(": ")
}

fn unsent(reason: &str) -> String {
    let remedy = if reason.contains("refused") {
        "see whether the API server runs, and whether the kubeconfig has its present address"
    } else if reason.contains("certificate") {
        "the kubeconfig's certificate authority does not match the server; fetch it again"
    } else if reason.contains("dns") || reason.contains("lookup") || reason.contains("resolution") {
        "the server's name cannot be looked up from here; see the kubeconfig's `server`"
    } else {
        return reason.to_owned();
    };
    format!("{reason}\n  to do: {remedy}")
}

fn refusal(status: &Status) -> String {
    let message = if status.message.is_empty() {
        status.reason.clone()
    } else {
        status.message.clone()
    };
    match remedy(status) {
        Some(remedy) => format!("{message} ({})\n  to do: {remedy}", status.code),
        None => format!("{message} ({})", status.code),
    }
}

fn remedy(status: &Status) -> Option<&'static str> {
    let says = |part: &str| status.message.contains(part);
    Some(match status.code {
        401 => {
            "the token is wrong or has expired: log in again; `kubectl auth whoami` should answer with the same context"
        }
        403 if says("exceeded quota") => {
            "have the ResourceQuota raised, or run in another namespace by --namespace NAME"
        }
        403 if says("is forbidden: maximum") || says("is forbidden: minimum") || says("LimitRange") => {
            "the namespace's LimitRange does not allow these limits: have it changed, or run elsewhere by --namespace NAME"
        }
        403 if says("violates PodSecurity") => {
            "the namespace's Pod Security level forbids this pod: have its label pod-security.kubernetes.io/enforce set to baseline"
        }
        403 if says("being terminated") => {
            "wait until the namespace is gone; `migbench cleanup --all` tells what holds it"
        }
        403 => "`migbench doctor` with the same context names every right that is missing",
        413 => "a scenario's files must fit into a config map (1 MiB)",
        429 => "the API server is overloaded: try again later, or ask for a larger API priority",
        500..=599 => "the API server has a problem of its own: `kubectl get --raw '/readyz?verbose'`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: u16, message: &str) -> String {
        of(&kube::Error::Api(Box::new(
            Status::failure(message, "Reason").with_code(code),
        )))
    }

    #[test]
    fn refusals_carry_what_the_server_said_and_what_to_do() {
        let cases = [
            (401, "Unauthorized", "log in again"),
            (
                403,
                "pods \"p\" is forbidden: exceeded quota: q, requested: cpu=2",
                "ResourceQuota",
            ),
            (
                403,
                "pods \"p\" is forbidden: maximum cpu usage per Container is 1",
                "LimitRange",
            ),
            (
                403,
                "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\"",
                "enforce",
            ),
            (
                403,
                "unable to create new content because it is being terminated",
                "cleanup",
            ),
            (
                403,
                "pods is forbidden: User \"u\" cannot list resource",
                "migbench doctor",
            ),
            (429, "Too many requests", "overloaded"),
            (503, "etcdserver: request timed out", "readyz"),
        ];
        for (code, message, remedy) in cases {
            let told = told(code, message);
            let (reason, to_do) = told.split_once("\n  to do: ").unwrap();
            assert_eq!(reason, format!("{message} ({code})"));
            assert!(to_do.contains(remedy), "{told}");
        }
        assert_eq!(told(409, "changed"), "changed (409)");
    }

    #[test]
    fn a_refusal_is_told_in_a_few_words() {
        let refusal = |message: &str| brief(&kube::Error::Api(Status::failure(message, "Forbidden").boxed()));
        let long = "services is forbidden: User \"u\" cannot list resource \"services\" in API group \"\" in the namespace \"n\"";
        assert_eq!(refusal(long), "not allowed to list services");
        assert_eq!(refusal("pods \"p\" is forbidden: "), "pods \"p\" is forbidden");
    }
}
