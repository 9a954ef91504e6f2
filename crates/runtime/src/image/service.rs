//! CRI's ImageService over the image store.
//!
//! Owns the translation to and from CRI messages and gRPC codes. Never holds state of its own.

use std::sync::Arc;

use base::Clock;
use base64::Engine as _;
use cri::v1;
use cri::v1::image_service_server::ImageService;
use tonic::{Code, Request, Response, Status};

use super::error::{ImageError, PullError};
use super::records::ImageRecord;
use super::registry::Credentials;
use super::store::ImageStore;

/// The annotation of an `ImageSpec` that asks for the registry's image also where an administrator
/// imported one under that name.
pub const FROM_REGISTRY: &str = "knarr/from-registry";

/// The service; see [`ImageStore`] for what it does.
pub struct ImageServer {
    store: ImageStore,
    clock: Arc<dyn Clock>,
}

impl ImageServer {
    pub fn new(store: ImageStore, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }
}

#[tonic::async_trait]
impl ImageService for ImageServer {
    async fn list_images(
        &self,
        request: Request<v1::ListImagesRequest>,
    ) -> Result<Response<v1::ListImagesResponse>, Status> {
        let wanted = request.into_inner().filter.and_then(|f| f.image).map(|i| i.image).unwrap_or_default();
        let images = match wanted.as_str() {
            "" => self.store.list().values().map(to_cri).collect(),
            reference => self.store.status(reference).iter().map(to_cri).collect(),
        };
        Ok(Response::new(v1::ListImagesResponse { images }))
    }

    async fn image_status(
        &self,
        request: Request<v1::ImageStatusRequest>,
    ) -> Result<Response<v1::ImageStatusResponse>, Status> {
        let request = request.into_inner();
        let reference = required(request.image)?;
        // A missing image is a result, not an error (CRI api.proto, ImageStatusResponse.image).
        let Some(image) = self.store.status(&reference) else {
            return Ok(Response::new(v1::ImageStatusResponse::default()));
        };
        let mut info = std::collections::HashMap::new();
        if request.verbose {
            let config = self.store.config_json(image.id).await.map_err(status)?;
            let text = serde_json::json!({"chainID": image.layers.last(), "imageSpec": config}).to_string();
            info.insert("info".to_owned(), text);
        }
        Ok(Response::new(v1::ImageStatusResponse { image: Some(to_cri(&image)), info }))
    }

    async fn pull_image(
        &self,
        request: Request<v1::PullImageRequest>,
    ) -> Result<Response<v1::PullImageResponse>, Status> {
        let request = request.into_inner();
        let reference = required(request.image.clone())?;
        let credentials = credentials(request.auth.unwrap_or_default(), &reference)?;
        let anew = request.image.is_some_and(|spec| spec.annotations.contains_key(FROM_REGISTRY));
        let imported = if anew { None } else { self.store.imported(&reference) };
        let image = match imported {
            Some(image) => image,
            None => self.store.pull(&reference, &credentials).await.map_err(status)?,
        };
        Ok(Response::new(v1::PullImageResponse { image_ref: image.id.to_string() }))
    }

    async fn remove_image(
        &self,
        request: Request<v1::RemoveImageRequest>,
    ) -> Result<Response<v1::RemoveImageResponse>, Status> {
        self.store.remove(&required(request.into_inner().image)?).await.map_err(status)?;
        Ok(Response::new(v1::RemoveImageResponse {}))
    }

    async fn image_fs_info(
        &self,
        _request: Request<v1::ImageFsInfoRequest>,
    ) -> Result<Response<v1::ImageFsInfoResponse>, Status> {
        let usage = self.store.usage().await.map_err(status)?;
        let filesystem = v1::FilesystemUsage {
            timestamp: i64::try_from(self.clock.now().as_nanosecond()).unwrap_or(i64::MAX),
            fs_id: Some(v1::FilesystemIdentifier { mountpoint: self.store.root().display().to_string() }),
            used_bytes: Some(v1::UInt64Value { value: usage.used_bytes }),
            inodes_used: Some(v1::UInt64Value { value: usage.inodes }),
        };
        Ok(Response::new(v1::ImageFsInfoResponse {
            image_filesystems: vec![filesystem.clone()],
            container_filesystems: vec![filesystem],
        }))
    }
}

fn required(image: Option<v1::ImageSpec>) -> Result<String, Status> {
    match image {
        Some(spec) if !spec.image.is_empty() => Ok(spec.image),
        _ => Err(Status::invalid_argument("image is required")),
    }
}

fn to_cri(image: &ImageRecord) -> v1::Image {
    let user = image.user.split(':').next().unwrap_or("");
    let uid: Option<i64> = user.parse().ok();
    v1::Image {
        id: image.id.to_string(),
        repo_tags: image.tags.iter().cloned().collect(),
        repo_digests: image.digests.iter().cloned().collect(),
        size: image.size_bytes,
        username: if uid.is_some() { String::new() } else { user.to_owned() },
        // No user means root, which the kubelet must know for runAsNonRoot.
        uid: uid.or(user.is_empty().then_some(0)).map(|value| v1::Int64Value { value }),
        // No registry gives an imported image back: whoever collects garbage leaves it alone.
        pinned: !image.imported.is_empty(),
        ..Default::default()
    }
}

fn credentials(auth: v1::AuthConfig, reference: &str) -> Result<Credentials, Status> {
    if !auth.server_address.is_empty() && !is_for(&auth.server_address, reference) {
        return Ok(Credentials::Anonymous);
    }
    if !auth.username.is_empty() {
        return Ok(Credentials::Basic { user: auth.username, password: auth.password });
    }
    if !auth.auth.is_empty() {
        let invalid = || Status::invalid_argument("the registry credentials are malformed");
        let decoded =
            base64::engine::general_purpose::STANDARD.decode(auth.auth.trim()).map_err(|_| invalid())?;
        let text = String::from_utf8(decoded).map_err(|_| invalid())?;
        let (user, password) = text.split_once(':').ok_or_else(invalid)?;
        let password = password.trim_end_matches('\0');
        return Ok(Credentials::Basic { user: user.to_owned(), password: password.to_owned() });
    }
    if !auth.registry_token.is_empty() {
        return Ok(Credentials::Bearer(auth.registry_token));
    }
    if !auth.identity_token.is_empty() {
        return Err(Status::unimplemented("identity tokens for registries are not implemented"));
    }
    Ok(Credentials::Anonymous)
}

/// Whether credentials for `server` (a host or URL) may be sent to the registry of `reference`.
fn is_for(server: &str, reference: &str) -> bool {
    let Ok(name) = reference.parse::<super::ImageName>() else { return false };
    let host = server.split_once("://").map_or(server, |(_, rest)| rest).split('/').next().unwrap_or("");
    host == name.domain()
        || (name.domain() == "docker.io" && matches!(host, "index.docker.io" | "registry-1.docker.io"))
}

fn status(error: ImageError) -> Status {
    let code = match &error {
        ImageError::Name { .. } => Code::InvalidArgument,
        ImageError::NotFound(_) | ImageError::Pull { cause: PullError::NotFound { .. }, .. } => {
            Code::NotFound
        }
        ImageError::Pull { cause: PullError::Stalled { .. }, .. } => Code::DeadlineExceeded,
        ImageError::Cancelled => Code::Cancelled,
        _ => Code::Unknown,
    };
    Status::new(code, error.legible())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(auth: v1::AuthConfig, reference: &str) -> Option<(String, String)> {
        match credentials(auth, reference) {
            Ok(Credentials::Basic { user, password }) => Some((user, password)),
            _ => None,
        }
    }

    #[test]
    fn credentials_go_only_to_their_registry() {
        let auth = |server: &str| v1::AuthConfig {
            username: "u".to_owned(),
            password: "p".to_owned(),
            server_address: server.to_owned(),
            ..Default::default()
        };
        let sent = Some(("u".to_owned(), "p".to_owned()));
        assert_eq!(basic(auth(""), "x"), sent);
        assert_eq!(basic(auth("https://index.docker.io/v1/"), "busybox"), sent);
        assert_eq!(basic(auth("reg.example:5000"), "reg.example:5000/a"), sent);
        assert_eq!(basic(auth("reg.example"), "busybox"), None);
        assert_eq!(basic(auth("docker.io.evil.example"), "busybox"), None);
    }

    #[test]
    fn the_encoded_form_is_decoded_or_refused() {
        let auth = |auth: &str| v1::AuthConfig { auth: auth.to_owned(), ..Default::default() };
        assert_eq!(basic(auth("dTpwOng="), "x"), Some(("u".to_owned(), "p:x".to_owned())));
        assert!(credentials(auth("***"), "x").is_err());
        assert!(credentials(auth("dQ=="), "x").is_err());
    }

    fn record(user: &str) -> ImageRecord {
        let id = crate::digest::Digest::of(b"");
        let (tags, digests, blobs, imported) = Default::default();
        let (manifest, layers, user) = (id, vec![], user.to_owned());
        ImageRecord { id, manifest, blobs, layers, size_bytes: 0, user, tags, digests, imported }
    }

    #[test]
    fn an_imported_image_is_pinned() {
        let pulled = ImageRecord { tags: ["docker.io/library/a:1".to_owned()].into(), ..record("") };
        assert!(!to_cri(&pulled).pinned);
        let imported = ImageRecord { imported: pulled.tags.clone(), ..pulled };
        assert!(to_cri(&imported).pinned);
    }

    #[test]
    fn the_user_is_told_as_a_number_or_a_name() {
        let image = |user: &str| {
            let cri = to_cri(&record(user));
            (cri.uid.map(|u| u.value), cri.username)
        };
        assert_eq!(image(""), (Some(0), String::new()));
        assert_eq!(image("1000:2000"), (Some(1000), String::new()));
        assert_eq!(image("nobody:nogroup"), (None, "nobody".to_owned()));
    }
}
