//! Fetching a Python where the host has no suitable one: by uv, of the user or fetched for this alone.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, anyhow, bail};

use super::{
    PullProgress,
    build::is_local,
    lock,
    python::Python,
    site::{self, Provisional, Site},
    step::{Builder, Step, in_a_line},
    variables, wheel,
};

/// Names the uv to use.
const VARIABLE: &str = "MIGBENCH_UV";

impl<P: Fn(PullProgress)> Builder<'_, P> {
    /// A Python in `pythons`, examined. Whatever was there goes; what was fetched goes again unless it is kept.
    pub(super) async fn fetch_python(
        &self,
        site: &Site,
        pythons: PathBuf,
    ) -> anyhow::Result<(Python, Provisional)> {
        let search = self.environment.search();
        let minors = search.minors();
        let newest = minors.last().context("there is none for this architecture")?;
        let uv = self.uv(site).await?;
        site::remove(&pythons)?;
        let mut install = variables::command(&uv);
        install
            .args(["python", "install", "--no-progress", &format!("3.{newest}")])
            .env("UV_PYTHON_INSTALL_DIR", &pythons)
            .env("UV_PYTHON_INSTALL_BIN", "0")
            .env("UV_CACHE_DIR", site.path("uv-cache"));
        if self.means.offline && !is_local("UV_PYTHON_INSTALL_MIRROR") && !is_local(LISTING) {
            install.arg("--offline");
        }
        let step = Step {
            phase: Some(format!(
                "fetching Python 3.{newest} (30 MB, unpacked 110 MB) by {} from {} into {}",
                uv.strip_prefix(site.path("")).unwrap_or(&uv).display(),
                source(),
                pythons.display()
            )),
            watched: Some(pythons.clone()),
        };
        let fetched = Provisional::new(pythons.clone());
        self.run(site, install, step)
            .await
            .map_err(|said| anyhow!(in_a_line(&said)))?;
        let python = search.fetched(&pythons).await;
        let python = python.map_err(|refused| anyhow!("what uv fetched does not do: {refused}"))?;
        Ok((python, fetched))
    }

    /// A uv that runs: the user's, else one that is fetched onto the site.
    async fn uv(&self, site: &Site) -> anyhow::Result<PathBuf> {
        let home = env::var_os("HOME");
        for candidate in candidates(env::var_os(VARIABLE), env::var_os("PATH"), home) {
            if runs(&candidate, &["--version"]).await {
                return Ok(candidate);
            }
            if env::var_os(VARIABLE).is_some() {
                bail!("{}, named by {VARIABLE}, does not run", candidate.display());
            }
        }
        let text = lock::uv(self.environment.machine).context("uv has no build for this architecture")?;
        if !self.means.offline {
            self.report("fetching uv (18 MB), which fetches Pythons", None);
        }
        let uv = site.path("uv");
        let wheel = match self.uv_by_pip(site, text).await {
            Some(wheel) => wheel,
            None => wheel::fetch("uv", text, &site.path(""), self.means.offline).await?,
        };
        wheel::unpack(&wheel, "uv", &uv)?;
        if !runs(&uv, &["--version"]).await {
            bail!("the uv that was fetched does not run on this host");
        }
        Ok(uv)
    }

    /// The wheel as the pip of any Python 3 gets it, which knows the user's mirrors from its configuration.
    async fn uv_by_pip(&self, site: &Site, text: &str) -> Option<PathBuf> {
        let python = Path::new("python3");
        if !runs(python, &["-m", "pip", "--version"]).await {
            return None;
        }
        let (requirements, folder) = (site.path("uv.txt"), site.path("uv-wheel"));
        fs::write(&requirements, text).ok()?;
        let mut pip = variables::command(python);
        pip.args([
            "-m",
            "pip",
            "download",
            "--no-input",
            "--disable-pip-version-check",
        ])
        .args(["--progress-bar=off", "--no-deps", "--require-hashes", "--dest"])
        .args([&folder, Path::new("--requirement"), &requirements])
        .env("TMPDIR", site.path(""));
        if self.means.offline && !is_local("PIP_INDEX_URL") {
            pip.arg("--no-index");
        }
        self.run(site, pip, Step::default()).await.ok()?;
        Some(fs::read_dir(folder).ok()?.next()?.ok()?.path())
    }
}

/// uv's own list of Pythons, by the user.
const LISTING: &str = "UV_PYTHON_DOWNLOADS_JSON_URL";

fn source() -> String {
    ["UV_PYTHON_INSTALL_MIRROR", LISTING]
        .into_iter()
        .find_map(|name| env::var(name).ok())
        .unwrap_or_else(|| "github.com/astral-sh/python-build-standalone".to_owned())
}

/// Where a uv may be: the one that is named and no other, else on `PATH` or where its installers put it.
fn candidates(named: Option<OsString>, path: Option<OsString>, home: Option<OsString>) -> Vec<PathBuf> {
    if let Some(named) = named {
        let named = PathBuf::from(named);
        return vec![fs::canonicalize(&named).unwrap_or(named)];
    }
    let home = home.map(PathBuf::from).filter(|home| home.is_absolute());
    let known = home
        .iter()
        .flat_map(|home| [home.join(".local/bin"), home.join(".cargo/bin")]);
    let path = path.unwrap_or_default();
    let directories = env::split_paths(&path).filter(|directory| directory.is_absolute());
    directories
        .chain(known)
        .map(|directory| directory.join("uv"))
        .filter(|uv| uv.is_file())
        .collect()
}

async fn runs(program: &Path, arguments: &[&str]) -> bool {
    let mut trial = variables::command(program);
    trial
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    trial.status().await.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_uv_wins_then_path_then_well_known_places() {
        let dir = tempfile::tempdir().unwrap();
        let (home, path) = (dir.path().join("home"), dir.path().join("path"));
        let uvs = [
            path.join("uv"),
            home.join(".local/bin/uv"),
            home.join(".cargo/bin/uv"),
        ];
        for uv in &uvs {
            fs::create_dir_all(uv.parent().unwrap()).unwrap();
            fs::write(uv, "").unwrap();
        }
        let path = env::join_paths([dir.path().join("nothing"), path, PathBuf::from("relative")]).unwrap();
        let all = candidates(None, Some(path.clone()), Some(home.clone().into()));
        assert_eq!(all, uvs);
        let named = candidates(Some("/opt/uv".into()), Some(path), Some(home.into()));
        assert_eq!(named, [PathBuf::from("/opt/uv")]);
        assert_eq!(candidates(None, None, None), Vec::<PathBuf>::new());
    }
}
