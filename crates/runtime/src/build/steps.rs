//! One instruction after the other: what each does to its stage.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use dockerfile::{
    Command as Line, Copy, Heredoc, Ignore, Instruction, Mount, MountKind, Network, Quotes, Run, Source, Step,
};

use super::builder::{Builder, Stage};
use super::copy::{From, Plan, Single, SingleContent, copy, matching};
use super::environment::is_proxy;
use super::fetch::{URL_LIMIT, fetch, is_repository, is_url, name_of};
use super::files::Files;
use super::mounts::{Mounts, Places, hold};
use super::outcome::Failure;
use super::request::Event;
use super::run::Command;
use super::sink::{Archive, Attributes, Content, Sink, What, invalid, parents};
use super::tree::Folder;
use crate::digest::Digest;
use crate::image::StageImage;
use crate::image::compose::{Layer, stage_reference};
use crate::rootfs::Image;
use crate::snapshot::layer::apply;
use crate::snapshot::{LayerLimits, decompress};
use crate::spec::user::{AccountFiles, Wanted};

/// What one layer may hold.
const LIMITS: LayerLimits = LayerLimits { size_bytes: 64 << 30, entries: 1_000_000 };
/// What the runtime makes places for in every container.
const MOUNTED: [&str; 6] = ["dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf"];

impl Builder<'_> {
    /// Carries out a step; `title` is its name where it is shown.
    pub(super) async fn apply(
        &mut self,
        stage: &mut Stage,
        index: usize,
        step: &Step,
        title: Option<String>,
    ) -> Result<(), Failure> {
        let id = match title {
            Some(title) => self.step(title).await,
            None => {
                self.describe(stage, step).await?;
                self.note(stage, step, true);
                return Ok(());
            }
        };
        let (started, before) = (Instant::now(), stage.layers.len());
        let done = match &step.instruction {
            Instruction::Copy(copy) => self.copy(stage, index, id, copy, false).await,
            Instruction::Add(copy) => self.copy(stage, index, id, copy, true).await,
            Instruction::Run(run) => self.run(stage, index, id, run).await,
            Instruction::Workdir(path) => self.workdir(stage, path).await,
            _ => Ok(false),
        };
        let cached = done.map_err(|failure| failure.at(step.place, Some(id)))?;
        self.note(stage, step, stage.layers.len() == before);
        if cached {
            self.events.tell(Event::Cached { id }).await;
        } else {
            let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.events.tell(Event::Done { id, ms }).await;
        }
        Ok(())
    }

    /// Instructions that change the config alone.
    async fn describe(&mut self, stage: &mut Stage, step: &Step) -> Result<(), Failure> {
        let (escape, before) = (self.file.escape, stage.config.config.clone());
        let arguments = stage.arguments.clone();
        let word = |text: &str| arguments.expand(text, escape, &before);
        let settings = &mut stage.config.config;
        match &step.instruction {
            Instruction::Arg(pairs) => {
                for (name, default) in pairs {
                    let settings = stage.config.config.clone();
                    let default =
                        default.as_ref().map(|text| stage.arguments.expand(text, escape, &settings));
                    stage.arguments.declare(name, default.transpose()?, &self.globals);
                }
            }
            Instruction::Env(pairs) => {
                for (name, value) in pairs {
                    settings.set_variable(&word(name)?, &word(value)?);
                }
            }
            Instruction::Label(pairs) => {
                for (name, value) in pairs {
                    settings.labels.insert(word(name)?, word(value)?);
                }
            }
            Instruction::User(user) => settings.user = word(user)?,
            Instruction::Expose(all) => {
                for text in all {
                    settings.expose(&word(text)?).map_err(Failure::new)?;
                }
            }
            Instruction::Volume(paths) => {
                for path in paths {
                    let path = word(path)?;
                    if path.is_empty() {
                        return Err(Failure::new("VOLUME specified can not be an empty string"));
                    }
                    settings.volumes.insert(path, serde_json::json!({}));
                }
            }
            Instruction::Shell(shell) => settings.shell.clone_from(shell),
            Instruction::StopSignal(signal) => {
                let signal = word(signal)?;
                crate::engine::stop_signal(&signal).map_err(Failure::of)?;
                settings.stop_signal = signal;
            }
            Instruction::Cmd(line) => {
                settings.cmd = command_line(line, &settings.shell);
                stage.has_cmd = true;
            }
            Instruction::Entrypoint(line) => {
                settings.entrypoint = command_line(line, &settings.shell);
                if !stage.has_cmd {
                    settings.cmd.clear();
                }
            }
            Instruction::Onbuild(text) => settings.on_build.push(text.clone()),
            Instruction::Maintainer(name) => stage.config.author = Some(name.clone()),
            Instruction::Healthcheck => {
                let text = "HEALTHCHECK is ignored: an image of this format has none, and pods have probes";
                self.events.tell(Event::Warning { text: text.to_owned() }).await;
            }
            _ => {}
        }
        Ok(())
    }

    /// Makes the layer of a step, or takes it from the cache; whether it was there.
    async fn layer(
        &self,
        stage: &mut Stage,
        key: Digest,
        write: impl FnOnce(&mut Archive<&mut dyn Write>) -> io::Result<()> + Send + 'static,
    ) -> Result<bool, Failure> {
        if let Some(layer) = self.cached(&key) {
            stage.push(layer);
            return Ok(true);
        }
        let (latest_s, files) = (self.request.source_date_epoch, Arc::clone(self.files));
        let made = self.composer.layer(stage.chain(), move |out| {
            let mut out = files.until_over(out);
            let mut archive = Archive::new(&mut out as &mut dyn Write, latest_s, LIMITS.entries);
            write(&mut archive)?;
            archive.finish()
        });
        let layer = made.await.map_err(Failure::of)?;
        self.composer.remember(key, layer.clone()).await.map_err(Failure::of)?;
        stage.push(layer);
        Ok(false)
    }

    fn key(&self, parts: &[String]) -> Digest {
        key_of(parts, self.request.source_date_epoch)
    }

    fn cached(&self, key: &Digest) -> Option<Option<Layer>> {
        if self.request.no_cache { None } else { self.composer.cached(key) }
    }

    async fn workdir(&mut self, stage: &mut Stage, path: &str) -> Result<bool, Failure> {
        let path = stage.arguments.expand(path, self.file.escape, &stage.config.config)?;
        let path = stage.path(&path);
        let path = if path == "/" { path } else { path.trim_end_matches('/').to_owned() };
        stage.config.config.working_dir.clone_from(&path);
        let layers = self.directories(stage)?;
        let base = Folder::root(&layers).map_err(Failure::of)?;
        let found = base.find(Path::new(&path), true).map_err(Failure::of)?;
        match found.node {
            Some(node) if node.folder().is_some() => return Ok(false),
            Some(_) => return Err(Failure::new(format!("cannot mkdir {path}: not a directory"))),
            None => {}
        }
        let mtime_s = self.now_s();
        // The folder belongs to the user that was named before.
        let user = &stage.config.config.user;
        let (uid, gid) = if user.is_empty() { (0, 0) } else { owner(user, &layers)? };
        let key = self.key(&["workdir".to_owned(), chain_text(stage), path, format!("{uid}:{gid}")]);
        self.layer(stage, key, move |archive| {
            let attributes = Attributes { mode: 0o755, uid, gid, mtime_s, xattrs: Default::default() };
            for folder in parents(&found.real.join("x")) {
                if base.find(&folder, true)?.node.is_none() {
                    archive.file(&folder, What::Folder, &attributes, &mut io::empty())?;
                }
            }
            Ok(())
        })
        .await
    }

    fn directories(&self, stage: &Stage) -> Result<Vec<PathBuf>, Failure> {
        self.composer.directories(&stage.chain()).map_err(Failure::of)
    }

    async fn copy(
        &mut self,
        stage: &mut Stage,
        index: usize,
        id: u32,
        copy: &Copy,
        add: bool,
    ) -> Result<bool, Failure> {
        let job = Arc::new(self.copy_job(stage, index, id, copy, add).await?);
        let digested = Arc::clone(&job);
        let digest = tokio::task::spawn_blocking(move || {
            let mut content = Content::default();
            digested.run(&mut content).map(|()| content.finish())
        });
        let digest = digest.await.map_err(Failure::of)?.map_err(Failure::of)?;
        let key = self.key(&["copy".to_owned(), chain_text(stage), digest.to_string()]);
        self.layer(stage, key, move |archive| job.run(archive)).await
    }

    async fn copy_job(
        &mut self,
        stage: &Stage,
        index: usize,
        id: u32,
        copy: &Copy,
        add: bool,
    ) -> Result<CopyJob, Failure> {
        let escape = self.file.escape;
        let (arguments, settings) = (stage.arguments.clone(), stage.config.config.clone());
        let word = |text: &str| arguments.expand(text, escape, &settings);
        let base = self.directories(stage)?;
        let excludes = copy.excludes.iter().map(|text| word(text)).collect::<Result<Vec<_>, _>>()?;
        let plan = Plan {
            target: stage.path(&word(&copy.target)?),
            owner: copy.chown.as_ref().map(|text| owner(&word(text)?, &base)).transpose()?,
            mode: copy.chmod.as_ref().map(|text| mode(&word(text)?)).transpose()?,
            parents: copy.parents,
            excludes: Ignore::of(&excludes).map_err(Failure::of)?,
            now_s: self.now_s(),
        };
        let root = match &copy.from {
            Some(name) => {
                let source = self.source(name, index).await?;
                self.directories(&source)?
            }
            None => vec![self.context()],
        };
        let mut job = CopyJob {
            plan,
            base,
            root,
            patterns: Vec::new(),
            inline: Vec::new(),
            unpacked: Vec::new(),
            files: Arc::clone(self.files),
        };
        for source in &copy.sources {
            match source {
                Source::Heredoc(document) => {
                    let content = match document.expand {
                        true => arguments.expand_as(&document.content, escape, Quotes::Kept, &settings)?,
                        false => document.content.clone(),
                    };
                    let content = SingleContent::Text(content);
                    job.inline.push(Single { name: document.name.clone(), mode: 0o644, content });
                }
                Source::Path(text) => {
                    let text = word(text)?;
                    if add && is_repository(&text) {
                        return Err(Failure::new(format!("ADD of the repository {text} is not supported")));
                    }
                    match add && is_url(&text) {
                        true => job.inline.push(self.fetched(&text, copy).await?),
                        false => job.patterns.push(text),
                    }
                }
            }
        }
        if add && copy.unpack != Some(false) {
            let dir = self.dir.join(format!("unpacked-{id}"));
            let unpacked = tokio::task::spawn_blocking(move || job.unpack(&dir).map(|()| job));
            job = unpacked.await.map_err(Failure::of)?.map_err(Failure::of)?;
        }
        job.check_target(add)?;
        Ok(job)
    }

    /// What a URL leads to, in a file of the build.
    async fn fetched(&mut self, url: &str, copy: &Copy) -> Result<Single, Failure> {
        if copy.unpack == Some(true) {
            return Err(Failure::new("ADD --unpack of a URL is not supported"));
        }
        self.fetches += 1;
        if self.fetches > URL_LIMIT {
            return Err(Failure::new(format!("the build fetches more than {URL_LIMIT} URLs")));
        }
        let (name, path) = (name_of(url)?, self.dir.join(format!("fetched-{}", self.fetches)));
        fetch(url, copy.checksum.as_deref(), &path).await?;
        Ok(Single { name, mode: 0o600, content: SingleContent::File(path) })
    }

    async fn run(&mut self, stage: &mut Stage, index: usize, id: u32, run: &Run) -> Result<bool, Failure> {
        let network = network_of(run.network, self.request.network.as_deref())?;
        let settings = stage.config.config.clone();
        let shell = shell_of(&settings.shell);
        let (argv, script) = command_of(run, &shell);
        let mut env = settings.env.clone();
        let declared = stage.arguments.visible(&settings).filter(|(name, _)| !is_proxy(name));
        env.extend(declared.map(|(name, value)| format!("{name}={value}")));
        let mut parts =
            vec!["run".to_owned(), chain_text(stage), settings.user.clone(), settings.working_dir.clone()];
        parts.push(format!("{argv:?} {script:?} {env:?} {network:?} {:?}", run.mounts));
        parts.extend(self.mounted_digests(stage, index, run).await?);
        let key = self.key(&parts);
        if let Some(layer) = self.cached(&key) {
            stage.push(layer);
            return Ok(true);
        }
        env.extend(self.globals.proxies().map(|(name, value)| format!("{name}={value}")));
        let (_, sandbox) = self.runner.sandbox(network).await?;
        let mut mounts = self.mounts(stage, index, id, run, &sandbox).await?;
        if let Some(script) = script {
            mounts.script(SCRIPT, &script, &sandbox).map_err(Failure::of)?;
        }
        env.extend(mounts.secrets.iter().map(|(name, value)| format!("{name}={value}")));
        let image = self.offer(stage, format!("step-{id}"), env);
        let command = Command { image, argv: argv.clone(), mounts: mounts.mounts.clone(), network, step: id };
        let (code, container) = self.runner.run(command, self.events).await?;
        let outcome = match code {
            0 => self.take_changes(stage, &container, &mounts, key).await,
            code => Err(Failure::new(format!(
                "process \"{}\" did not complete successfully: exit code: {code}",
                argv.join(" ")
            ))),
        };
        self.runner.remove(&container).await;
        outcome.map(|()| false)
    }

    async fn take_changes(
        &self,
        stage: &mut Stage,
        container: &str,
        mounts: &Mounts,
        key: Digest,
    ) -> Result<(), Failure> {
        let written = self.composer.written_by(container).map_err(Failure::of)?;
        let base = Folder::root(&self.directories(stage)?).map_err(Failure::of)?;
        let mut mounted: Vec<PathBuf> = MOUNTED.iter().map(PathBuf::from).collect();
        let targets = mounts.mounts.iter().map(|mount| mount.container_path.trim_matches('/'));
        mounted.extend(targets.map(PathBuf::from));
        // The key is not in the cache: the layer is made.
        self.layer(stage, key, move |archive| super::changes::write(&written, &base, &mounted, archive))
            .await?;
        Ok(())
    }

    /// Has containers find the stage as it is now; the reference.
    fn offer(&self, stage: &Stage, name: String, env: Vec<String>) -> String {
        let build = self.dir.file_name().unwrap_or_default().to_string_lossy();
        let reference = stage_reference(&build, &name);
        let settings = &stage.config.config;
        let image = Image {
            id: reference.clone(),
            env,
            user: settings.user.clone(),
            working_dir: settings.working_dir.clone(),
            ..Image::default()
        };
        self.composer.offer(&reference, StageImage { image, layers: stage.chain() });
        reference
    }

    /// What the cache key of a command takes from its bind mounts.
    async fn mounted_digests(
        &mut self,
        stage: &Stage,
        index: usize,
        run: &Run,
    ) -> Result<Vec<String>, Failure> {
        let mut all = Vec::new();
        for mount in run.mounts.iter().filter(|mount| mount.kind == MountKind::Bind) {
            if let Some(name) = &mount.from {
                all.push(chain_text(&self.source(name, index).await?));
                continue;
            }
            let source = mount.source.as_deref().unwrap_or("/");
            let source = stage.arguments.expand(source, self.file.escape, &stage.config.config)?;
            let plan = Plan { target: "/x".to_owned(), ..Plan::default() };
            let (root, patterns) = (vec![self.context()], vec![source]);
            let (base, inline, unpacked) = (Vec::new(), Vec::new(), Vec::new());
            let job = CopyJob { plan, base, root, patterns, inline, unpacked, files: Arc::clone(self.files) };
            let digest = tokio::task::spawn_blocking(move || {
                let mut content = Content::default();
                job.run(&mut content).map(|()| content.finish())
            });
            all.push(digest.await.map_err(Failure::of)?.map_err(Failure::of)?.to_string());
        }
        Ok(all)
    }

    async fn mounts(
        &mut self,
        stage: &Stage,
        index: usize,
        id: u32,
        run: &Run,
        sandbox: &Path,
    ) -> Result<Mounts, Failure> {
        let dir = sandbox.join(format!("build-{id}"));
        std::fs::create_dir(&dir).map_err(Failure::of)?;
        let all = run.mounts.iter().map(|mount| self.mount(stage, mount));
        let all = all.collect::<Result<Vec<_>, _>>()?;
        let caches = all.iter().filter(|(mount, _)| mount.kind == MountKind::Cache);
        let caches =
            caches.map(|(mount, target)| (mount.id.as_ref().unwrap_or(target).clone(), mount.sharing));
        let store = self.store.caches();
        let (held, taken) = hold(&caches.collect::<Vec<_>>(), &store).await;
        self.runner.hold(held);
        let mut mounts = Mounts::default();
        for (number, (mount, target)) in all.iter().enumerate() {
            let name = mount.id.clone().filter(|id| !id.is_empty());
            let name = name.unwrap_or_else(|| target.rsplit('/').next().unwrap_or_default().to_owned());
            let secret = self
                .request
                .secrets
                .get(&name)
                .map(|text| base64::engine::general_purpose::STANDARD.decode(text).map_err(Failure::of));
            let image = match &mount.from {
                Some(from) => {
                    let source = self.source(from, index).await?;
                    Some(self.offer(&source, format!("mount-{id}-{number}"), Vec::new()))
                }
                None => None,
            };
            let context = self.context();
            let (caches, build) = (store.root(), self.dir);
            let places = Places { context: &context, caches, taken: &taken, sandbox: &dir, build };
            let secret = secret.transpose()?.filter(|_| mount.kind == MountKind::Secret);
            mounts.add(mount, target, image, secret, &places)?;
        }
        Ok(mounts)
    }

    /// A mount with its variables replaced, and its target.
    fn mount(&self, stage: &Stage, mount: &Mount) -> Result<(Mount, String), Failure> {
        let word = |text: &String| stage.arguments.expand(text, self.file.escape, &stage.config.config);
        let mut mount = mount.clone();
        mount.source = mount.source.as_ref().map(word).transpose()?;
        mount.id = mount.id.as_ref().map(word).transpose()?;
        let target = match &mount.target {
            Some(target) => stage.path(&word(target)?),
            None => format!("/run/secrets/{}", mount.id.as_deref().unwrap_or_default()),
        };
        Ok((mount, target))
    }
}

/// The network of a command. That of the host needs the leave of who asks for the build, not of the Dockerfile.
fn network_of(wanted: Network, asked: Option<&str>) -> Result<Network, Failure> {
    match (wanted, asked) {
        (_, Some(other)) if !["default", "none", "host"].contains(&other) => {
            Err(Failure::new(format!("network mode {other:?} is not supported")))
        }
        (Network::Default, Some("none")) => Ok(Network::None),
        (Network::Default, Some("host")) => Ok(Network::Host),
        (Network::Host, asked) if asked != Some("host") => {
            Err(Failure::new("network.host is not allowed: build with --network=host"))
        }
        (network, _) => Ok(network),
    }
}

/// Where a here-document with a `#!` line lies.
const SCRIPT: &str = "/dev/pipes/EOF";

/// The command of a `RUN`, and the script that it runs where there is one.
fn command_of(run: &Run, shell: &[String]) -> (Vec<String>, Option<String>) {
    let text = match &run.command {
        Line::Exec(argv) => return (argv.clone(), None),
        Line::Shell(text) => text,
    };
    let mut argv = shell.to_vec();
    match run.heredocs.as_slice() {
        [only] if text.starts_with("<<") && !text.contains(char::is_whitespace) => {
            if only.content.starts_with("#!") {
                return (vec![SCRIPT.to_owned()], Some(only.content.clone()));
            }
            argv.push(only.content.clone());
        }
        documents => argv.push(documents.iter().fold(text.clone(), with_document)),
    }
    (argv, None)
}

fn with_document(text: String, document: &Heredoc) -> String {
    format!("{text}\n{}{}", document.content, document.name)
}

fn shell_of(shell: &[String]) -> Vec<String> {
    if shell.is_empty() { vec!["/bin/sh".to_owned(), "-c".to_owned()] } else { shell.to_vec() }
}

fn command_line(line: &Line, shell: &[String]) -> Vec<String> {
    match line {
        Line::Exec(argv) => argv.clone(),
        Line::Shell(text) => shell_of(shell).into_iter().chain([text.clone()]).collect(),
    }
}

fn chain_text(stage: &Stage) -> String {
    stage.layers.last().map_or_else(|| "scratch".to_owned(), |layer| layer.chain_id.to_string())
}

/// What the cache knows a step by. The times in its layer depend on `epoch`.
fn key_of(parts: &[String], epoch: Option<u64>) -> Digest {
    let epoch = epoch.map_or_else(|| "now".to_owned(), |epoch| epoch.to_string());
    let lengths: Vec<String> =
        parts.iter().chain([&epoch]).map(|part| format!("{}:{part}", part.len())).collect();
    Digest::of(lengths.concat().as_bytes())
}

fn mode(text: &str) -> Result<u32, Failure> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| {
        Failure::new(format!("invalid chmod parameter: '{text}'. it should be octal and between 0 and 07777"))
    })
}

/// `user:group`; a user alone stands for the group of that name or number, too.
fn owner(text: &str, layers: &[PathBuf]) -> Result<(u32, u32), Failure> {
    let accounts = AccountFiles::read(layers).map_err(Failure::of)?;
    let whole = if text.contains(':') || text.parse::<u32>().is_err() {
        text.to_owned()
    } else {
        format!("{text}:{text}")
    };
    let found = accounts.resolve(&Wanted { user: &whole, ..Wanted::default() }).map_err(Failure::of)?;
    Ok((found.uid, found.gid))
}

/// What is copied, with all that is needed to read it twice.
struct CopyJob {
    plan: Plan,
    base: Vec<PathBuf>,
    root: Vec<PathBuf>,
    patterns: Vec<String>,
    inline: Vec<Single>,
    unpacked: Vec<PathBuf>,
    files: Arc<Files>,
}

impl CopyJob {
    fn check_target(&self, add: bool) -> Result<(), Failure> {
        let sources = self.patterns.len() + self.inline.len();
        if sources < 2 || self.plan.target.ends_with('/') {
            return Ok(());
        }
        let name = if add { "ADD" } else { "COPY" };
        Err(Failure::new(format!(
            "When using {name} with more than one source file, the destination must be a directory and end with a /"
        )))
    }

    fn run(&self, sink: &mut dyn Sink) -> io::Result<()> {
        let (base, root) = (Folder::root(&self.base)?, Folder::root(&self.root)?);
        let unpacked = self.unpacked.iter().map(|dir| Folder::root(std::slice::from_ref(dir)));
        let unpacked = unpacked.collect::<io::Result<Vec<_>>>()?;
        let mut sources =
            vec![From::Tree { root: &root, patterns: &self.patterns }, From::Single(&self.inline)];
        sources.extend(unpacked.iter().map(From::All));
        copy(&self.plan, &base, &sources, &mut self.files.until_over(sink))
    }

    /// Unpacks the sources that are archives into folders below `dir`.
    fn unpack(&mut self, dir: &Path) -> io::Result<()> {
        let root = Folder::root(&self.root)?;
        let mut left = Vec::new();
        for pattern in std::mem::take(&mut self.patterns) {
            for source in matching(&root, &pattern, false)? {
                let archive = match source.regular() {
                    Some(node) => is_archive(&mut node.open()?)?.then(|| node.open()).transpose()?,
                    None => None,
                };
                let Some(archive) = archive else {
                    left.push(exactly(&source.path));
                    continue;
                };
                let target = dir.join(self.unpacked.len().to_string());
                std::fs::create_dir_all(&target)?;
                let failed = |error| invalid(format!("/{}: {error}", source.path.display()));
                apply(self.files.until_over(decompress(archive)?), &target, &[], LIMITS).map_err(failed)?;
                self.unpacked.push(target);
            }
        }
        self.patterns = left;
        Ok(())
    }
}

/// A pattern that matches one path.
fn exactly(path: &Path) -> String {
    let mut pattern = String::new();
    for character in path.to_string_lossy().chars() {
        if matches!(character, '*' | '?' | '[' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// Whether a file is a tar archive, compressed or not.
fn is_archive(file: &mut std::fs::File) -> io::Result<bool> {
    use std::io::{Read, Seek};
    let mut start = [0; 6];
    let count = file.read(&mut start)?;
    file.rewind()?;
    if start[..count].starts_with(b"BZh") || start[..count].starts_with(b"\xfd7zXZ\0") {
        return Err(invalid(
            "archives in bzip2 and xz are not unpacked: use gzip or zstd, or --unpack=false",
        ));
    }
    let mut block = Vec::new();
    // What cannot be decompressed is a file like any other.
    let read = decompress(&*file).and_then(|content| content.take(512).read_to_end(&mut block));
    Ok(read.is_ok() && block.len() == 512 && &block[257..262] == b"ustar")
}

#[cfg(test)]
#[path = "steps/tests.rs"]
mod tests;
