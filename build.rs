//! Scenarios and manifests are embedded by `include_dir`, which does not tell cargo about the files it reads.

fn main() {
    println!("cargo::rerun-if-changed=scenarios");
    println!("cargo::rerun-if-changed=manifests");
}
