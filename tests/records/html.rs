//! The HTML report: one file, the same bytes each time, and what a browser makes of it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use migbench::{
    record::run::RunRecord,
    report::{self, Options},
    stats::summary::Summary,
};

use crate::{skip::skip, support::Shape};

fn page(record: &RunRecord) -> String {
    let html = report::by_name("html", Options::default()).unwrap();
    String::from_utf8(html.render(record, &Summary::new(record)).unwrap()).unwrap()
}

/// Pages that differ in what there is to show.
fn pages() -> Vec<(&'static str, String)> {
    let mut hostile = crate::support::record(&Shape::tensorflow(3));
    hostile.environment.cluster = "<script>document.title = 'x'</script>".into();
    hostile.legs[1].error = Some("<img src=x onerror=alert(1)>".into());
    hostile.legs[2].migration = None;
    vec![
        ("six", page(&crate::support::record(&Shape::tensorflow(6)))),
        ("one", page(&crate::support::record(&Shape::smoke()))),
        ("hostile", page(&hostile)),
    ]
}

#[test]
fn it_is_one_file_without_scripts_and_every_chart_is_told_in_words() {
    for (name, page) in pages() {
        for loaded in ["<script", " src=\"", "href=\"", "url(", "@import", "<img"] {
            assert!(!page.contains(loaded), "{name}: {loaded}");
        }
        let charts = page.matches("<svg ").count();
        assert!(charts >= 7, "{name}: {charts} charts");
        assert_eq!(page.matches("<desc>").count(), charts, "{name}");
        assert!(!page.contains("<desc></desc>") && !page.contains("NaN"), "{name}");
    }
}

#[test]
fn trimmed_samples_are_hollow() {
    let page = page(&crate::support::record(&Shape::tensorflow(1)));
    let hollow = page.matches("hollow\" cx").count();
    assert_eq!(hollow, 2 * 2 * 6, "two legs of two phases, three at each end");
}

/// `MIGBENCH_TEST_BROWSER`, or a Chromium in the path.
fn browser() -> Option<PathBuf> {
    if let Some(named) = env::var_os("MIGBENCH_TEST_BROWSER") {
        return Some(named.into());
    }
    let path = env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|program| program.is_file())
}

/// The page as the browser has it once its scripts have come to rest.
fn dom(browser: &Path, page: &Path) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args(["--virtual-time-budget=60000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// `tests/html.sh` fetches browser and checker, and runs this.
#[test]
fn a_browser_shows_it_and_an_accessibility_checker_finds_nothing() {
    let Some(browser) = browser() else {
        skip("there is no Chromium here (MIGBENCH_TEST_BROWSER)");
        return;
    };
    let Some(axe) = env::var_os("MIGBENCH_TEST_AXE") else {
        skip("axe-core is not at hand (MIGBENCH_TEST_AXE, see tests/html.sh)");
        return;
    };
    let axe = fs::read_to_string(axe).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, page) in pages() {
        let check = "axe.run().then(found => { document.title = 'axe ' + JSON.stringify(found.violations.map(one => \
                     [one.id, one.nodes.map(node => node.html.slice(0, 200))])) + ' of ' + found.passes.length; })";
        let file = folder.path().join(name).with_extension("html");
        fs::write(
            &file,
            format!("{page}<script>{axe}</script><script>{check}</script>"),
        )
        .unwrap();
        let dom = dom(&browser, &file);
        let title = dom
            .split("<title>")
            .nth(1)
            .unwrap()
            .split("</title>")
            .next()
            .unwrap();
        let passes = title
            .strip_prefix("axe [] of ")
            .unwrap_or_else(|| panic!("{name}: {title}"));
        assert!(passes.parse::<u32>().unwrap() > 10, "{name}: {title}");
    }
}
