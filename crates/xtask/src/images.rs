//! `cargo xtask images`: the container images of tests and demonstrations, made on the spot from Debian
//! packages and our own test server, as OCI archives.
//!
//! Packages are downloaded and unpacked beside the images; nothing is installed. Start with [`run`].

mod layer;
mod oci;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use layer::Layer;
use oci::{RunConfig, write_archive};

const SHELL_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What nginx needs, down to the C library; a shell to look around with, the usual small programs with their
/// libraries, and tar, which `kubectl cp` runs.
const NGINX_PACKAGES: [&str; 18] = [
    "nginx",
    "nginx-common",
    "libc6",
    "libpcre2-8-0",
    "libssl3",
    "zlib1g",
    "libcrypt1",
    "bash",
    "libtinfo6",
    "coreutils",
    "libacl1",
    "libattr1",
    "libgmp10",
    "libselinux1",
    "grep",
    "hostname",
    "sed",
    "tar",
];
const NGINX_CONF: &str = "daemon off;\nuser root;\nworker_processes 1;\nerror_log /dev/stderr notice;\n\
    pid /run/nginx.pid;\nevents { worker_connections 512; }\nhttp {\n  include /etc/nginx/mime.types;\n  \
    access_log /dev/stdout;\n  server {\n    listen 80;\n    root /usr/share/nginx/html;\n  }\n}\n";
const NGINX_PAGE: &str = "<!DOCTYPE html>\n<html>\n<head><title>Welcome to nginx!</title></head>\n\
    <body><h1>Welcome to nginx!</h1></body>\n</html>\n";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\n\
    nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";
const GROUP: &str = "root:x:0:\ndaemon:x:1:\nnobody:x:65534:\n";

/// Makes the archives in `out` that are not there yet, or were made from other packages.
pub fn run(out: &Path) -> Result<()> {
    fs::create_dir_all(out)?;
    let out = fs::canonicalize(out)?;
    let work = out.join("work");
    make(&out, "busybox.tar", "busybox-static", || busybox(&work))?;
    make(&out, "nginx.tar", &NGINX_PACKAGES.join(" "), || nginx(&work))?;
    make(&out, "kubia.tar", "testserver", kubia)?;
    Ok(())
}

/// An image: its names, its one layer and how it runs.
struct Image {
    names: &'static [&'static str],
    layer: Layer,
    run: RunConfig,
}

fn make(out: &Path, file: &str, packages: &str, image: impl FnOnce() -> Result<Image>) -> Result<()> {
    let path = out.join(file);
    let made_from = path.with_extension("packages");
    if path.exists() && fs::read_to_string(&made_from).is_ok_and(|known| known == packages) {
        return Ok(());
    }
    let image = image().with_context(|| format!("making {file}"))?;
    let fresh = path.with_extension("new");
    write_archive(&fresh, image.names, image.layer.finish()?, &image.run)?;
    fs::rename(&fresh, &path)?;
    fs::write(&made_from, packages)?;
    println!("{}: {}", path.display(), image.names.join(", "));
    Ok(())
}

fn busybox(work: &Path) -> Result<Image> {
    let root = unpack(work, "busybox", &["busybox-static"])?;
    let program = [root.join("bin/busybox"), root.join("usr/bin/busybox")]
        .into_iter()
        .find(|path| path.exists())
        .context("the package holds no busybox")?;
    let mut layer = base_layer()?;
    add_busybox(&mut layer, &program, true)?;
    let run = RunConfig { cmd: vec!["sh".into()], env: vec![SHELL_PATH.into()], ..RunConfig::default() };
    Ok(Image { names: &["docker.io/library/busybox:latest", "docker.io/library/busybox:1.36"], layer, run })
}

/// busybox with a link for each of its programs, or for those only that are no file of their own.
fn add_busybox(layer: &mut Layer, program: &Path, all: bool) -> Result<()> {
    layer.file("bin/busybox", &fs::read(program)?, 0o755)?;
    let listed = Command::new(program).arg("--list").output().context("asking busybox for its programs")?;
    for applet in String::from_utf8(listed.stdout)?.lines().filter(|name| *name != "busybox") {
        if all || !["sh"].contains(&applet) {
            layer.link(&format!("bin/{applet}"), "busybox")?;
        }
    }
    Ok(())
}

fn nginx(work: &Path) -> Result<Image> {
    let root = unpack(work, "nginx", &NGINX_PACKAGES)?;
    let mut layer = base_layer()?;
    for dir in ["bin", "sbin", "lib", "lib64", "usr/bin", "usr/sbin", "usr/lib/x86_64-linux-gnu", "etc/nginx"]
    {
        layer.tree(&root, dir, &["gconv", "perl", "audit", "engines-3", "ossl-modules"])?;
    }
    layer.file("etc/nginx/nginx.conf", NGINX_CONF.as_bytes(), 0o644)?;
    layer.file("usr/share/nginx/html/index.html", NGINX_PAGE.as_bytes(), 0o644)?;
    layer.link("bin/sh", "bash")?;
    for dir in ["run", "var/log/nginx", "var/lib/nginx/body"] {
        layer.dir(dir, 0o755)?;
    }
    let run = RunConfig {
        cmd: vec!["/usr/sbin/nginx".into()],
        env: vec![SHELL_PATH.into()],
        exposed_ports: vec!["80/tcp".into()],
        stop_signal: Some("SIGQUIT".into()),
        ..RunConfig::default()
    };
    Ok(Image { names: &["docker.io/library/nginx:latest", "docker.io/library/nginx:alpine"], layer, run })
}

fn kubia() -> Result<Image> {
    let status = Command::new(env!("CARGO"))
        .args(["rustc", "--quiet", "--release", "-p", "testserver", "--message-format=json", "--"])
        .args(["-C", "target-feature=+crt-static"])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("building the test server")?;
    if !status.status.success() {
        bail!("building the test server failed");
    }
    let program = String::from_utf8(status.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo did not say where the test server is")?;
    let mut layer = base_layer()?;
    layer.file("testserver", &fs::read(program)?, 0o755)?;
    let run = RunConfig {
        entrypoint: vec!["/testserver".into()],
        env: vec![SHELL_PATH.into()],
        exposed_ports: vec!["8080/tcp".into()],
        ..RunConfig::default()
    };
    let names = &["docker.io/luksa/kubia:latest", "docker.io/luksa/kubia-unhealthy:latest"];
    Ok(Image { names, layer, run })
}

/// What every image has: users, and folders with their modes.
fn base_layer() -> Result<Layer> {
    let mut layer = Layer::default();
    for (dir, mode) in [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("var", 0o755)] {
        layer.dir(dir, mode)?;
    }
    layer.file("etc/passwd", PASSWD.as_bytes(), 0o644)?;
    layer.file("etc/group", GROUP.as_bytes(), 0o644)?;
    Ok(layer)
}

/// Downloads Debian packages and unpacks them into a folder; what is there already is used again.
fn unpack(work: &Path, name: &str, packages: &[&str]) -> Result<PathBuf> {
    let (debs, root) = (work.join(format!("{name}-debs")), work.join(name));
    for left in [&debs, &root] {
        if left.exists() {
            fs::remove_dir_all(left).with_context(|| format!("removing {}", left.display()))?;
        }
    }
    fs::create_dir_all(&debs)?;
    let downloaded = Command::new("apt-get")
        .args(["download", "-o", "APT::Sandbox::User=root", "-qq"])
        .args(packages)
        .current_dir(&debs)
        .status()
        .context("running apt-get; images are made from Debian packages")?;
    if !downloaded.success() {
        bail!("apt-get could not download {}; try 'apt-get update' first", packages.join(", "));
    }
    for entry in fs::read_dir(&debs)? {
        let unpacked = Command::new("dpkg-deb").arg("-x").arg(entry?.path()).arg(&root).status()?;
        if !unpacked.success() {
            bail!("a package could not be unpacked");
        }
    }
    Ok(root)
}
