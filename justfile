# The commands of daily work; `just` lists them.
_default:
    @just --list

# Everything a change must pass before it is handed in.
check: fmt lint doc test

fmt:
    cargo fmt --check

lint:
    cargo clippy --all-targets --locked -- --deny warnings

doc:
    RUSTDOCFLAGS="--deny warnings" cargo doc --no-deps --locked

test:
    cargo test --locked

# The benchmark in under a minute, without TensorFlow.
smoke:
    cargo run --locked --release -- run --scenario smoke

# The main job.
tensorflow:
    cargo run --locked --release -- run --scenario tensorflow

# Criterion benchmarks.
bench:
    cargo bench --locked

# Many smoke runs, kills in each leg, and nothing left.
soak:
    tests/soak.sh

# The container image, as an archive.
image:
    .ci/image target/migbench.tar

# The first command on hosts that it makes, as root.
hosts:
    tests/hosts.sh

# Everything that wants a real cluster; its head says which.
cluster:
    tests/cluster.sh
