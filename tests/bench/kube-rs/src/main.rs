//! The same work as `../kube_*.lua`, as a Rust program on kube-rs does it. The cluster and the namespace are
//! those of KUBECONFIG.
//!
//!   apply FOLDER AT_ONCE     server-side apply of each ConfigMap in FOLDER/*.yaml
//!   watch LOG                follows the ConfigMaps (app=bench): says `ready`, and ends when `end` appears
//!   replay VERSION LOG       follows their changes since that resource version, up to the same end
//!
//! LOG gets a line per change: `apply NAME VERSION` or `delete NAME`.
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};

const LABELS: &str = "app=bench";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn read(folder: &str) -> Result<Vec<ConfigMap>> {
    let mut maps = Vec::new();
    for entry in Path::new(folder).read_dir()? {
        maps.push(serde_saphyr::from_str(&std::fs::read_to_string(entry?.path())?)?);
    }
    Ok(maps)
}

async fn apply(api: Api<ConfigMap>, folder: &str, at_once: usize) -> Result<()> {
    let options = PatchParams::apply("kube-rs");
    stream::iter(read(folder)?)
        .map(|map| {
            let (api, options) = (&api, &options);
            async move { api.patch(&map.name_any(), options, &Patch::Apply(&map)).await }
        })
        .buffer_unordered(at_once)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(())
}

/// What came, and the time from the first to the last of it.
struct Log {
    file: BufWriter<File>,
    count: u32,
    first: Option<Instant>,
}

impl Log {
    fn new(path: &str) -> Result<Log> {
        Ok(Log { file: BufWriter::new(File::create(path)?), count: 0, first: None })
    }

    fn applied(&mut self, map: &ConfigMap) -> Result<bool> {
        let (name, version) = (map.name_any(), map.resource_version().unwrap_or_default());
        writeln!(self.file, "apply {name} {version}")?;
        self.counted();
        Ok(name == "end")
    }

    fn deleted(&mut self, map: &ConfigMap) -> Result<bool> {
        writeln!(self.file, "delete {}", map.name_any())?;
        self.counted();
        Ok(false)
    }

    fn counted(&mut self) {
        self.first.get_or_insert_with(Instant::now);
        self.count += 1;
    }

    fn close(mut self) -> Result<()> {
        self.file.flush()?;
        let seconds = self.first.map_or(0.0, |at| at.elapsed().as_secs_f64());
        println!("{:.0}", f64::from(self.count) / seconds);
        Ok(())
    }
}

async fn watch(api: Api<ConfigMap>, path: &str) -> Result<()> {
    let mut log = Log::new(path)?;
    let mut events = std::pin::pin!(watcher::watcher(api, watcher::Config::default().labels(LABELS)));
    while let Some(event) = events.try_next().await? {
        let ended = match event {
            Event::InitDone => {
                println!("ready");
                false
            }
            Event::Apply(map) | Event::InitApply(map) => log.applied(&map)?,
            Event::Delete(map) => log.deleted(&map)?,
            Event::Init => false,
        };
        if ended {
            break;
        }
    }
    log.close()
}

async fn replay(api: Api<ConfigMap>, version: &str, path: &str) -> Result<()> {
    let mut log = Log::new(path)?;
    let mut events = std::pin::pin!(api.watch(&WatchParams::default().labels(LABELS), version).await?);
    while let Some(event) = events.try_next().await? {
        let ended = match event {
            WatchEvent::Added(map) | WatchEvent::Modified(map) => log.applied(&map)?,
            WatchEvent::Deleted(map) => log.deleted(&map)?,
            WatchEvent::Bookmark(_) => false,
            WatchEvent::Error(status) => return Err(status.to_string().into()),
        };
        if ended {
            break;
        }
    }
    log.close()
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let api = Api::default_namespaced(Client::try_default().await?);
    match arguments[..] {
        ["apply", folder, at_once] => apply(api, folder, at_once.parse()?).await,
        ["watch", log] => watch(api, log).await,
        ["replay", version, log] => replay(api, version, log).await,
        _ => Err("apply FOLDER AT_ONCE | watch LOG | replay VERSION LOG".into()),
    }
}
