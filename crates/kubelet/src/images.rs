//! Images for containers: looked up, pulled by policy, each pull shared by all who wait for it.
//!
//! Start at [`Images::ensure`]. Back-off between failed pulls is the planner's.

mod credentials;
mod name;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use base::Clock;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};

use crate::cri_calls::{Cri, CriError};
use crate::events::{self, Events, Part, Severity};
use crate::planner::{Failure, Member};
use crate::pod_api::PodApi;
use crate::seams::ResolvedImage;

type Pulling = BoxFuture<'static, Result<String, CriError>>;
type Pull = Shared<Pulling>;
/// An image's name and what it is pulled with: who has other credentials has another pull.
type Wanted = (String, Option<cri::v1::AuthConfig>);

/// Finds and pulls images.
pub struct Images {
    cri: Arc<dyn Cri>,
    api: Arc<dyn PodApi>,
    events: Events,
    clock: Arc<dyn Clock>,
    /// Pulls under way; each lives as long as somebody waits for it.
    pulls: Mutex<HashMap<Wanted, WeakShared<Pulling>>>,
}

impl Images {
    pub fn new(cri: Arc<dyn Cri>, api: Arc<dyn PodApi>, events: Events, clock: Arc<dyn Clock>) -> Self {
        Self { cri, api, events, clock, pulls: Mutex::default() }
    }

    /// The image of a container, pulled where its policy says so; records upstream's events about
    /// `regarding`. Cancellation safe: a pull that others wait for goes on with them.
    ///
    /// # Errors
    /// With upstream's waiting reason: `InvalidImageName`, `ImageInspectError`, `ErrImageNeverPull`,
    /// `ErrImagePull`.
    pub async fn ensure(
        &self,
        pod: &Pod,
        member: &Member,
        regarding: &ObjectReference,
    ) -> Result<ResolvedImage, Failure> {
        let found = self.find_all(pod, member, regarding).await;
        if let Err(failure) = &found {
            self.warn(regarding, "Failed", format!("Error: {}", failure.reason));
        }
        found
    }

    /// The container's own image, and those that are its volumes (KEP-4639).
    async fn find_all(
        &self,
        pod: &Pod,
        member: &Member,
        regarding: &ObjectReference,
    ) -> Result<ResolvedImage, Failure> {
        let of = |image: &Option<String>| image.clone().unwrap_or_default();
        let (image, policy) = (of(&member.spec.image), member.spec.image_pull_policy.as_deref());
        let mut found = self.find(pod, &image, policy, regarding).await?;
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let is_mounted = |name: &str| member.spec.volume_mounts.iter().flatten().any(|m| m.name == name);
        for volume in volumes.filter(|volume| is_mounted(&volume.name)) {
            let Some(source) = &volume.image else { continue };
            let about = events::reference(pod, Part::Pod);
            let image = self.find(pod, &of(&source.reference), source.pull_policy.as_deref(), &about).await?;
            found.volumes.insert(volume.name.clone(), image.image_ref);
        }
        Ok(found)
    }

    async fn find(
        &self,
        pod: &Pod,
        asked: &str,
        policy: Option<&str>,
        regarding: &ObjectReference,
    ) -> Result<ResolvedImage, Failure> {
        let image = name::read(asked).map_err(|why| {
            let message = format!("Failed to apply default image tag {asked:?}: {why}");
            self.warn(regarding, "InspectFailed", message.clone());
            failure("InvalidImageName", message)
        })?;
        let present = self.inspect(&image.asked, asked, regarding).await?;
        match (name::pull_policy(policy, &image.asked), present) {
            (name::PullPolicy::Never, None) => {
                let message = format!("Container image {asked:?} is not present with pull policy of Never");
                self.warn(regarding, "ErrImageNeverPull", message.clone());
                Err(failure("ErrImageNeverPull", message))
            }
            (name::PullPolicy::Never | name::PullPolicy::IfNotPresent, Some(found)) => {
                let text = format!(
                    "Container image {asked:?} already present on machine and can be accessed by the pod"
                );
                self.events.record(regarding.clone(), Severity::Normal, "Pulled", text);
                Ok(found)
            }
            _ => self.pull(pod, &image, asked, regarding).await,
        }
    }

    async fn inspect(
        &self,
        image: &str,
        asked: &str,
        regarding: &ObjectReference,
    ) -> Result<Option<ResolvedImage>, Failure> {
        match self.cri.image(image).await {
            Ok(found) => Ok(found.map(resolved)),
            Err(error) => {
                let message = format!("Failed to inspect image {asked:?}: {error}");
                self.warn(regarding, "InspectFailed", message.clone());
                Err(failure("ImageInspectError", message))
            }
        }
    }

    async fn pull(
        &self,
        pod: &Pod,
        image: &name::Named,
        asked: &str,
        regarding: &ObjectReference,
    ) -> Result<ResolvedImage, Failure> {
        let pulling = format!("Pulling image {asked:?}");
        self.events.record(regarding.clone(), Severity::Normal, "Pulling", pulling);
        let began = self.clock.now();
        let secrets = credentials::find(self.api.as_ref(), pod, &image.reference).await;
        if !secrets.unread.is_empty() {
            let unread = secrets.unread.join(", ");
            let message = format!(
                "Unable to retrieve some image pull secrets ({unread}); attempting to pull the image may not \
                 succeed."
            );
            self.warn(regarding, "FailedToRetrieveImagePullSecret", message);
        }
        match self.pull_with(&image.asked, secrets.credentials).await {
            Ok(_) => {}
            Err(error) => {
                let message = error.to_string();
                self.warn(regarding, "Failed", format!("Failed to pull image {asked:?}: {message}"));
                return Err(failure("ErrImagePull", message));
            }
        }
        let found =
            self.cri.image(&image.asked).await.map_err(|e| failure("ImageInspectError", e.to_string()))?;
        let Some(found) = found else {
            let message = format!("the image {asked:?} was pulled but is not there");
            return Err(failure("ImageInspectError", message));
        };
        let took = go_duration_ms(self.clock.now().duration_since(began));
        let text = format!(
            "Successfully pulled image {asked:?} in {took} ({took} including waiting). Image size: {} bytes.",
            found.size
        );
        self.events.record(regarding.clone(), Severity::Normal, "Pulled", text);
        Ok(resolved(found))
    }

    /// Tries one of `credentials` after the other; the last one's failure is told.
    async fn pull_with(
        &self,
        image: &str,
        credentials: Vec<cri::v1::AuthConfig>,
    ) -> Result<String, CriError> {
        let mut attempts = credentials.into_iter();
        let mut auth = attempts.next();
        loop {
            let pulled = self.shared_pull(image, auth).await;
            auth = attempts.next();
            if pulled.is_ok() || auth.is_none() {
                return pulled;
            }
        }
    }

    /// Pulls of the same image with the same credentials are one pull.
    async fn shared_pull(&self, image: &str, auth: Option<cri::v1::AuthConfig>) -> Result<String, CriError> {
        let key = (image.to_owned(), auth.clone());
        let pull: Pull = {
            let mut pulls = self.pulls.lock().unwrap_or_else(|e| e.into_inner());
            pulls.retain(|_, pull| pull.upgrade().is_some());
            match pulls.get(&key).and_then(WeakShared::upgrade) {
                Some(under_way) => under_way,
                None => {
                    let (cri, image) = (self.cri.clone(), image.to_owned());
                    let pull = async move { cri.pull(&image, auth).await }.boxed().shared();
                    pulls.extend(pull.downgrade().map(|weak| (key, weak)));
                    pull
                }
            }
        };
        pull.await
    }

    fn warn(&self, regarding: &ObjectReference, reason: &'static str, message: String) {
        self.events.record(regarding.clone(), Severity::Warning, reason, message);
    }
}

fn failure(reason: &str, message: String) -> Failure {
    Failure { reason: reason.to_owned(), message }
}

fn resolved(image: cri::v1::Image) -> ResolvedImage {
    let uid = image.uid.map(|u| u.value);
    ResolvedImage { image_ref: image.id, uid, username: image.username, volumes: BTreeMap::new() }
}

/// A duration cut to milliseconds, the way Go prints it: `234ms`, `1.2s`, `1m2.05s`.
fn go_duration_ms(duration: SignedDuration) -> String {
    let total_ms = duration.as_millis().max(0);
    if total_ms < 1000 {
        return format!("{total_ms}ms");
    }
    let (minutes, ms) = (total_ms / 60_000, total_ms % 60_000);
    let fraction = format!("{:03}", ms % 1000);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    let seconds = format!("{}{dot}{fraction}s", ms / 1000);
    if minutes == 0 { seconds } else { format!("{minutes}m{seconds}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        let shown = |ms| go_duration_ms(SignedDuration::from_millis(ms));
        assert_eq!([shown(0), shown(7), shown(1200), shown(60_050)], ["0ms", "7ms", "1.2s", "1m0.05s"]);
    }
}
