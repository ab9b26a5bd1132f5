//! What may import what: the picture of `src/lib.rs`, checked. A path in code counts as a `use` does; tests do not count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A folder or file of `src/`; the modules that it may import beside its own; why no others.
const LAYERS: &str = "
contract: : a contract belongs to neither of its sides
record: contract::workload: a record is read where there is no cluster
k8s: : what everybody asks of Kubernetes depends on nobody who asks
wrap: : it wraps text, whatever that is about
sample: record: a meter reads; what is read for is above it
stats: record: statistics are pure functions over the record
orchestrator: contract k8s: it is a service that knows its contract alone
embedded: contract k8s sample::mounts: the stand-in for Kubernetes knows nobody who uses it
workload: contract k8s: a container knows nothing of what is done to it
scenario: contract record k8s embedded::api: what is wanted is settled, by the API server's own rules, before anything is done
image: : a program that packs itself needs no cluster
install: k8s sample::agent: what is installed does not depend on a run
deploy: record k8s scenario install: how pods come to be does not depend on what for
migrate: contract record k8s: a strategy is given a client, a pod and two nodes
run: contract record k8s sample stats orchestrator embedded workload scenario install deploy migrate: \
    it speaks in notices; who shows them is above it
report: record stats wrap: a report is made of the record alone
progress: record contract::workload run::notice stats wrap: it shows notices, whoever gives them
doctor: contract record k8s sample stats orchestrator embedded workload scenario install deploy migrate run wrap: \
    it tells what it finds; exit codes are above it
selftest: record stats migrate doctor: it judges a record, and says so as the doctor does
interrupt: error: a signal is an exit code, whatever it ends
error: *: the face sees everything
commands: *: the face sees everything
cli: *: the face sees everything";

/// Names of modules (`run::leg`), each with something.
type Modules<T> = BTreeMap<String, T>;

/// The code of every module, without comments and tests; those stand last in their files.
fn sources() -> Modules<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut sources, mut tests) = (BTreeMap::new(), BTreeSet::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .strip_prefix(&root)
                .unwrap()
                .to_str()
                .unwrap()
                .replace('/', "::");
            if path.is_dir() {
                folders.push(path);
            } else if let Some(name) = name.strip_suffix(".rs").filter(|name| *name != "main") {
                let name = name.trim_end_matches("::mod").trim_end_matches("lib");
                let text = fs::read_to_string(path).unwrap();
                let mut parts = text.split("#[cfg(test)]\nmod ");
                let code = parts.next().unwrap().lines();
                let code = code.filter(|line| !line.trim_start().starts_with("//"));
                sources.insert(name.to_owned(), code.collect::<Vec<_>>().join("\n"));
                let declared = parts.filter_map(|part| part.split_once(';'));
                tests.extend(declared.map(|(test, _)| join(name, test)));
            }
        }
    }
    let tests = |name: &str| {
        name.match_indices("::")
            .any(|(end, _)| tests.contains(&name[..end]))
            || tests.contains(name)
    };
    sources.retain(|name, _| !name.is_empty() && !tests(name));
    sources
}

fn join(base: &str, name: &str) -> String {
    format!("{base}::{name}").trim_start_matches("::").to_owned()
}

/// The paths of a `use` tree, or the one of any other path, and what follows.
fn paths(text: &str) -> (Vec<String>, &str) {
    if let Some(mut rest) = text.strip_prefix('{') {
        let mut all = Vec::new();
        loop {
            rest = rest.trim_start_matches(|next: char| next == ',' || next.is_whitespace());
            if let Some(rest) = rest.strip_prefix('}') {
                return (all, rest);
            }
            let (branch, after) = paths(rest);
            all.extend(branch);
            rest = &after[after.find([',', '}']).unwrap()..];
        }
    }
    let end = text.find(|next: char| !next.is_alphanumeric() && next != '_');
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    let Some(below) = rest.strip_prefix("::") else {
        return (vec![name.to_owned()], rest);
    };
    let (below, rest) = paths(below);
    (below.iter().map(|path| format!("{name}::{path}")).collect(), rest)
}

/// A path of a module from the root of the crate.
fn from_the_root(path: &str, module: &str) -> String {
    if let Some(whole) = path.strip_prefix("crate::") {
        return whole.to_owned();
    }
    let (mut base, mut rest) = (module, path);
    while let Some(above) = rest.strip_prefix("super::") {
        (base, rest) = (base.rsplit_once("::").map_or("", |(base, _)| base), above);
    }
    join(base, rest)
}

/// The modules that each module imports.
fn imports() -> Modules<BTreeSet<String>> {
    let sources = sources();
    let of = |module: &str, code: &str| {
        let starts = code.match_indices("crate::").chain(code.match_indices("super::"));
        let starts = starts.filter(|(at, _)| !code[..*at].ends_with([':', '$', '_']));
        let all = starts.flat_map(|(at, _)| paths(&code[at..]).0);
        let modules = all.filter_map(|path| {
            let path = from_the_root(&path, module);
            let ends = path.rmatch_indices("::").map(|(at, _)| at);
            let mut names = [path.len()].into_iter().chain(ends).map(|end| &path[..end]);
            names.find(|name| sources.contains_key(*name)).map(str::to_owned)
        });
        modules.filter(|name| name != module).collect()
    };
    sources
        .iter()
        .map(|(module, code)| (module.clone(), of(module, code)))
        .collect()
}

fn layer(module: &str) -> &str {
    module.split("::").next().unwrap()
}

fn is_in(module: &str, folder: &str) -> bool {
    module
        .strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Each set of modules that can all be reached from one another, one a line.
fn circles(imports: &Modules<BTreeSet<String>>) -> String {
    let reached = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(node) = next.pop() {
            next.extend(imports[node].iter().filter(|to| seen.insert((*to).clone())));
        }
        seen
    };
    let reached: Modules<_> = imports.keys().map(|from| (from.clone(), reached(from))).collect();
    let circled = reached.iter().filter(|(from, all)| all.contains(*from));
    let members = circled.map(|(from, all)| all.iter().filter(|to| reached[*to].contains(from)));
    let lines: BTreeSet<String> = members
        .map(|members| members.fold(String::new(), |line, member| line + " " + member))
        .collect();
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

#[test]
fn nothing_imports_what_is_above_it() {
    let table: Modules<_> = LAYERS
        .trim()
        .lines()
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, rest)| (name.to_owned(), rest.rsplit_once(": ").unwrap()))
        .collect();
    let mut wrong = Vec::new();
    for (module, imported) in imports() {
        let (may, why) = table.get(layer(&module)).expect(&module);
        let allowed =
            |to: &str| *may == "*" || may.split(' ').any(|may| is_in(to, may)) || is_in(to, layer(&module));
        let too_far = imported.iter().filter(|to| !allowed(to));
        wrong.extend(too_far.map(|to| format!("{module} imports {to}, but {why}")));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn nothing_imports_in_a_circle() {
    let mut files = imports();
    let mut folders: Modules<BTreeSet<String>> = BTreeMap::new();
    for (module, imported) in &mut files {
        // That a folder's `mod.rs` lists what is in the folder is no import.
        imported.retain(|to| !is_in(to, module));
        let others = imported
            .iter()
            .map(|to| layer(to))
            .filter(|to| *to != layer(module));
        let folder = folders.entry(layer(module).to_owned()).or_default();
        folder.extend(others.map(str::to_owned));
    }
    let found = [circles(&folders), circles(&files)];
    assert!(found.iter().all(String::is_empty), "\n{}", found.join("\n"));
}

#[test]
fn only_the_commands_know_how_the_command_line_is_read() {
    for (module, code) in sources() {
        let may = ["cli", "commands"].contains(&layer(&module));
        assert!(may || !code.contains("clap::"), "{module} knows clap");
    }
}
