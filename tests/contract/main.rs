//! What the program relies on in a Kubernetes API server and its kubelets: each body runs on the embedded cluster, and on
//! the real one that the kubeconfig in `MIGBENCH_TEST_KUBECONFIG` reaches. Its nodes must have this version's image, or
//! the one that `MIGBENCH_TEST_IMAGE` names.
//!
//! What only a real machine or a real cluster can show is here too: the meters, and the doctor.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

/// Makes two tests of each body: `<body>::embedded` and `<body>::real`.
macro_rules! on_both_clusters {
    ($($body:ident),+ $(,)?) => {
        $(mod $body {
            #[tokio::test]
            async fn embedded() {
                crate::cluster::on_embedded(super::$body).await;
            }

            #[tokio::test]
            async fn real() {
                crate::cluster::on_real(super::$body).await;
            }
        })+
    };
}

mod admission;
mod applying;
mod case;
mod cluster;
mod commands;
mod deleting;
mod doctor;
mod dry_run;
mod known_answer;
mod listing;
mod logs;
mod native_leg;
mod placing;
mod refusing;
mod sampling;
mod watching;
mod writing;

#[path = "../../src/skip.rs"]
mod skip;
