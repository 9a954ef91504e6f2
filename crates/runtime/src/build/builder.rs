//! A build: which stages are needed, what each starts from, and the image of the last.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dockerfile::{Dockerfile, Instruction, Quotes, Source, Step, expand, parse, parse_trigger};
use jiff::Timestamp;

use super::config::{Config, Past};
use super::environment::{Arguments, Globals, absolute};
use super::files::Files;
use super::outcome::{Events, Failure};
use super::request::{Event, Request};
use super::run::Runner;
use crate::digest::Digest;
use crate::image::compose::{Composer, Layer, tag_name};
use crate::image::manifest::{LAYER_COUNT_LIMIT, Platform};
use crate::image::{Credentials, ImageStore};

/// The path of images that start from nothing.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A build in progress.
pub struct Builder<'a> {
    pub(super) store: &'a ImageStore,
    pub(super) composer: &'a Composer,
    pub(super) runner: &'a Runner,
    pub(super) request: &'a Request,
    pub(super) dir: &'a Path,
    pub(super) files: &'a Arc<Files>,
    pub(super) events: &'a Events,
    pub(super) file: Dockerfile,
    pub(super) globals: Globals,
    pub(super) now: Timestamp,
    finished: BTreeMap<usize, Stage>,
    images: BTreeMap<String, Stage>,
    next_step: u32,
    pub(super) fetches: u32,
}

/// A stage as far as it is.
#[derive(Debug, Clone, Default)]
pub struct Stage {
    pub config: Config,
    pub layers: Vec<Layer>,
    pub arguments: Arguments,
    /// Whether this stage has a `CMD` of its own.
    pub has_cmd: bool,
}

impl Stage {
    /// The chain ids of the layers, bottom first.
    pub fn chain(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| layer.chain_id).collect()
    }

    pub fn push(&mut self, layer: Option<Layer>) {
        if let Some(layer) = layer {
            self.config.rootfs.diff_ids.push(layer.diff_id.to_string());
            self.layers.push(layer);
        }
    }

    /// A path below the working directory.
    pub fn path(&self, path: &str) -> String {
        absolute(&self.config.config.working_dir, path)
    }
}

impl<'a> Builder<'a> {
    pub fn new(
        store: &'a ImageStore,
        composer: &'a Composer,
        runner: &'a Runner,
        request: &'a Request,
        files: &'a Arc<Files>,
        events: &'a Events,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let file =
            parse(&request.dockerfile).map_err(|error| Failure::new(error.message).at(error.place, None))?;
        let host = Platform::host();
        let now = match request.source_date_epoch {
            Some(epoch) => i64::try_from(epoch).ok().and_then(|epoch| Timestamp::from_second(epoch).ok()),
            None => Some(now),
        };
        let now = now.ok_or_else(|| Failure::new("SOURCE_DATE_EPOCH is out of range"))?;
        let globals = Globals::new(request.build_args.clone(), &host);
        let (finished, images) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self {
            store,
            composer,
            runner,
            request,
            dir: &files.dir,
            files,
            events,
            file,
            globals,
            now,
            finished,
            images,
            next_step: 1,
            fetches: 0,
        })
    }

    /// Builds; the image's id and names.
    pub async fn build(mut self) -> Result<(String, Vec<String>), Failure> {
        let tags = self.request.tags.iter().map(|tag| tag_name(tag).map_err(Failure::of));
        let tags = tags.collect::<Result<Vec<_>, _>>()?;
        self.check_syntax()?;
        if let Some(platform) = &self.request.platform {
            self.check_platform(platform)?;
        }
        for warning in self.file.warnings.clone() {
            self.events.tell(Event::Warning { text: warning }).await;
        }
        self.declare_globals()?;
        let target = match &self.request.target {
            None => self.file.stages.len() - 1,
            Some(name) => self
                .file
                .stage(name)
                .ok_or_else(|| Failure::new(format!("target stage {name:?} could not be found")))?,
        };
        for index in self.needed(target)? {
            let stage = self.stage(index).await?;
            self.finished.insert(index, stage);
        }
        self.warn_of_unused().await;
        let stage = self.finished.remove(&target).unwrap_or_default();
        self.export(stage, tags).await
    }

    /// Frontends other than the one that is built in are not loaded.
    fn check_syntax(&self) -> Result<(), Failure> {
        let Some(syntax) = &self.file.syntax else { return Ok(()) };
        let name = syntax.trim_start_matches("docker.io/").split(['@', ':']).next().unwrap_or_default();
        match name {
            "docker/dockerfile" => Ok(()),
            _ => Err(Failure::new(format!(
                "the frontend {syntax:?} is not supported: only docker/dockerfile is"
            ))),
        }
    }

    fn check_platform(&self, platform: &str) -> Result<(), Failure> {
        let own = self.globals.lookup("TARGETPLATFORM").unwrap_or_default();
        let short = own.splitn(3, '/').take(2).collect::<Vec<_>>().join("/");
        if [own.as_str(), short.as_str()].contains(&platform) {
            return Ok(());
        }
        Err(Failure::new(format!("this node builds for {own} alone, not for {platform}")))
    }

    fn declare_globals(&mut self) -> Result<(), Failure> {
        for step in self.file.arguments.clone() {
            let Instruction::Arg(pairs) = &step.instruction else { continue };
            for (name, default) in pairs {
                let default = default.as_ref().map(|word| self.global(word, step.place)).transpose()?;
                if let Some(value) = self.globals.given.get(name).cloned().or(default) {
                    self.globals.declared.insert(name.clone(), value);
                }
            }
        }
        Ok(())
    }

    /// A word of a `FROM` or of an `ARG` before it.
    fn global(&self, word: &str, place: dockerfile::Place) -> Result<String, Failure> {
        let expanded = expand(word, self.file.escape, Quotes::Removed, &|name| self.globals.lookup(name));
        expanded.map_err(|error| Failure::of(error).at(place, None))
    }

    /// The stage that a name of `FROM`, `--from` or a mount means, of those before `index`.
    pub(super) fn earlier(&self, name: &str, index: usize) -> Option<usize> {
        self.file.stage(name).filter(|found| *found < index)
    }

    /// The stages that `target` needs, in order.
    fn needed(&self, target: usize) -> Result<BTreeSet<usize>, Failure> {
        let (mut needed, mut open) = (BTreeSet::new(), vec![target]);
        while let Some(index) = open.pop() {
            if !needed.insert(index) {
                continue;
            }
            let stage = &self.file.stages[index];
            let base = self.global(&stage.base.image, stage.place)?;
            // A number is a stage for `--from` alone.
            let named =
                |name: &String| self.file.stages[..index].iter().position(|s| s.name.as_ref() == Some(name));
            open.extend(named(&base.to_ascii_lowercase()));
            open.extend(stage.steps.iter().flat_map(sources_of).filter_map(|name| self.earlier(name, index)));
        }
        Ok(needed)
    }

    /// Announces a step.
    pub(super) async fn step(&mut self, name: String) -> u32 {
        let id = self.next_step;
        self.next_step += 1;
        self.events.tell(Event::Step { id, name }).await;
        id
    }

    async fn stage(&mut self, index: usize) -> Result<Stage, Failure> {
        let (place, base) = (self.file.stages[index].place, self.file.stages[index].base.clone());
        let name = self.global(&base.image, place)?;
        if let Some(platform) = &base.platform {
            let platform = self.global(platform, place)?;
            self.check_platform(&platform).map_err(|failure| failure.at(place, None))?;
        }
        let lower = name.to_ascii_lowercase();
        let earlier = self.file.stages[..index].iter().position(|stage| stage.name.as_ref() == Some(&lower));
        let mut stage = match earlier.and_then(|index| self.finished.get(&index)) {
            Some(stage) => Stage { arguments: Arguments::default(), has_cmd: false, ..stage.clone() },
            None if name.is_empty() => {
                return Err(Failure::new("base name should not be blank").at(place, None));
            }
            None => self.image(&name).await.map_err(|failure| failure.at(place, None))?,
        };
        let triggers = std::mem::take(&mut stage.config.config.on_build);
        let triggers = triggers.iter().map(|text| {
            let step = parse_trigger(text);
            step.map(|step| Step { place, ..step })
                .map_err(|error| Failure::new(error.message).at(place, None))
        });
        let mut steps = triggers.collect::<Result<Vec<Step>, _>>()?;
        steps.extend(self.file.stages[index].steps.iter().cloned());
        let total = 1 + steps.iter().filter(|step| has_vertex(&step.instruction)).count();
        let label = match (&self.file.stages[index].name, self.file.stages.len()) {
            (Some(name), _) => format!("{name} "),
            (None, 1) => String::new(),
            (None, _) => format!("stage-{index} "),
        };
        let id = self.step(format!("[{label}1/{total}] FROM {name}")).await;
        self.events.tell(Event::Done { id, ms: 0 }).await;
        let mut number = 1;
        for step in &steps {
            let title = has_vertex(&step.instruction).then(|| {
                number += 1;
                format!("[{label}{number}/{total}] {}", shown(step))
            });
            self.apply(&mut stage, index, step, title)
                .await
                .map_err(|failure| failure.at(step.place, None))?;
        }
        Ok(stage)
    }

    /// An image as a stage; pulled where it is not here.
    pub(super) async fn image(&mut self, name: &str) -> Result<Stage, Failure> {
        if name == "scratch" {
            return Ok(scratch());
        }
        if let Some(stage) = self.images.get(name) {
            return Ok(stage.clone());
        }
        let id = self.step(format!("[internal] load metadata for {}", whole_name(name))).await;
        let started = std::time::Instant::now();
        let here = self.store.status(name).filter(|_| !self.request.pull);
        let record = match here.or_else(|| self.store.imported(name)) {
            Some(record) => record,
            None => {
                let pulled = self.store.pull(name, &Credentials::Anonymous).await;
                pulled.map_err(|error| Failure { step: Some(id), ..Failure::new(error.legible()) })?
            }
        };
        let (layers, json) = self.composer.base(&record).await.map_err(Failure::of)?;
        let mut config: Config = serde_json::from_value(json).map_err(Failure::of)?;
        config.complete_history(layers.len());
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.events.tell(Event::Done { id, ms }).await;
        let stage = Stage { config, layers, ..Stage::default() };
        self.images.insert(name.to_owned(), stage.clone());
        Ok(stage)
    }

    /// What `--from` or a mount names.
    pub(super) async fn source(&mut self, name: &str, index: usize) -> Result<Stage, Failure> {
        match self.file.stage(name).map(|found| self.finished.get(&found).filter(|_| found < index)) {
            Some(Some(stage)) => Ok(stage.clone()),
            // A trigger of a base image names it, or it comes later: an image of that name is something else.
            Some(None) => Err(Failure::new(format!(
                "the stage {name:?} is not built at this point: name it in a COPY --from or a mount of this stage itself, after it"
            ))),
            None if name.contains('$') => Err(Failure::new(
                "variable expansion is not supported for --from, define a new stage with FROM instead",
            )),
            None => self.image(name).await,
        }
    }

    async fn warn_of_unused(&self) {
        let used = |name: &String| {
            self.globals.declared.contains_key(name)
                || super::environment::is_proxy(name)
                || self.finished.values().any(|stage| stage.arguments.used.contains(name))
        };
        let unused: Vec<_> =
            self.globals.given.keys().filter(|name| !used(name)).map(String::as_str).collect();
        if !unused.is_empty() {
            let text = format!("one or more build-args [{}] were not consumed", unused.join(" "));
            self.events.tell(Event::Warning { text }).await;
        }
    }

    async fn export(
        &mut self,
        mut stage: Stage,
        tags: Vec<String>,
    ) -> Result<(String, Vec<String>), Failure> {
        if stage.layers.len() > LAYER_COUNT_LIMIT {
            return Err(Failure::new(format!("the image has more than {LAYER_COUNT_LIMIT} layers")));
        }
        let id = self.step("exporting to image".to_owned()).await;
        let started = std::time::Instant::now();
        stage.config.config.labels.extend(self.request.labels.clone());
        stage.config.created = Some(self.now.to_string());
        stage.config.rootfs.kind = "layers".to_owned();
        let json = serde_json::to_vec(&stage.config).map_err(Failure::of)?;
        self.events.log(id, "exporting layers done").await;
        let image = self.composer.finish(stage.layers, json, tags.clone()).await.map_err(Failure::of)?;
        self.events.log(id, &format!("writing image {image} done")).await;
        for tag in &tags {
            self.events.log(id, &format!("naming to {tag} done")).await;
        }
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.events.tell(Event::Done { id, ms }).await;
        Ok((image.to_string(), tags))
    }

    pub(super) fn now_s(&self) -> u64 {
        u64::try_from(self.now.as_second()).unwrap_or(0)
    }

    /// Notes an instruction in the image's history.
    pub(super) fn note(&self, stage: &mut Stage, step: &Step, empty_layer: bool) {
        stage.config.history.push(Past {
            created: Some(self.now.to_string()),
            created_by: shown(step),
            comment: "knarr".to_owned(),
            empty_layer,
        });
    }

    pub(super) fn context(&self) -> PathBuf {
        self.dir.join("context")
    }
}

fn scratch() -> Stage {
    let host = Platform::host();
    let mut config =
        Config { architecture: host.architecture, os: host.os, variant: host.variant, ..Config::default() };
    config.config.env = vec![PATH.to_owned()];
    config.config.working_dir = "/".to_owned();
    Stage { config, ..Stage::default() }
}

/// The names by which a step asks for other stages.
fn sources_of(step: &Step) -> Vec<&str> {
    match &step.instruction {
        Instruction::Copy(copy) => copy.from.as_deref().into_iter().collect(),
        Instruction::Run(run) => run.mounts.iter().filter_map(|mount| mount.from.as_deref()).collect(),
        _ => Vec::new(),
    }
}

/// Whether a step is shown: those that may make a layer are.
fn has_vertex(instruction: &Instruction) -> bool {
    use Instruction::{Add, Copy, Run, Workdir};
    matches!(instruction, Copy(_) | Add(_) | Run(_) | Workdir(_))
}

/// A step in one line.
pub(super) fn shown(step: &Step) -> String {
    const LIMIT: usize = 1024;
    let mut text = step.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let content = match &step.instruction {
        Instruction::Copy(copy) | Instruction::Add(copy) => {
            copy.sources.iter().any(|s| matches!(s, Source::Heredoc(_)))
        }
        Instruction::Run(run) => !run.heredocs.is_empty(),
        _ => false,
    };
    if content {
        text.push_str(" (…)");
    }
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn whole_name(name: &str) -> String {
    tag_name(name).unwrap_or_else(|_| name.to_owned())
}
