//! Images are pulled anew for each pod, so that nobody uses what others have pulled with credentials of theirs. Off by
//! default, as upstream (`plugin/pkg/admission/alwayspullimages`).

use api::field::{FieldError, Path};
use api::{Error, Object};
use serde_json::Value;

use super::plugin::{Immediate, Operation, Review};

const ALWAYS: &str = "Always";
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// The plugin `AlwaysPullImages`.
pub struct AlwaysPullImages;

/// Whether the request brings an image that the pod did not have.
fn is_concerned(review: &Review<'_>, pod: &Object) -> bool {
    review.is_about_whole("", "pods")
        && match review.operation {
            Operation::Create => true,
            Operation::Update => review.old.is_none_or(|old| {
                let before: Vec<&str> = images(old).collect();
                images(pod).any(|image| !before.contains(&image))
            }),
            _ => false,
        }
}

fn images(pod: &Object) -> impl Iterator<Item = &str> {
    let lists = CONTAINERS.iter().filter_map(|list| pod.at(&["spec", *list])?.as_array());
    lists.flatten().filter_map(|container| container.get("image")?.as_str())
}

fn volumes(pod: &Object) -> impl Iterator<Item = (usize, &Value)> {
    let volumes = pod.at(&["spec", "volumes"]).and_then(Value::as_array).into_iter().flatten();
    volumes.enumerate().filter(|(_, volume)| volume.get("image").is_some_and(Value::is_object))
}

/// Sets a key in what a pod has at a place of a list; `inside` is the member that holds it.
fn set(pod: &mut Object, list: &str, inside: Option<&str>, key: &str) {
    let spec = pod.0.get_mut("spec").and_then(|spec| spec.get_mut(list)).and_then(Value::as_array_mut);
    for item in spec.into_iter().flatten() {
        let holder = match inside {
            Some(inside) => item.get_mut(inside),
            None => Some(item),
        };
        if let Some(holder) = holder.and_then(Value::as_object_mut) {
            holder.insert(key.to_owned(), ALWAYS.into());
        }
    }
}

impl Immediate for AlwaysPullImages {
    fn name(&self) -> &'static str {
        "AlwaysPullImages"
    }

    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        let Some(pod) = object else { return Ok(()) };
        if is_concerned(review, pod) {
            CONTAINERS.iter().for_each(|list| set(pod, list, None, "imagePullPolicy"));
            set(pod, "volumes", Some("image"), "pullPolicy");
        }
        Ok(())
    }

    fn check(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let Some(pod) = object.filter(|pod| is_concerned(review, pod)) else { return Ok(()) };
        let spec = Path::root("spec");
        for list in CONTAINERS {
            for (i, container) in
                pod.at(&["spec", list]).and_then(Value::as_array).into_iter().flatten().enumerate()
            {
                let given = container.get("imagePullPolicy").and_then(Value::as_str).unwrap_or("");
                if given != ALWAYS {
                    let at = spec.child(list);
                    let fault =
                        FieldError::not_supported(&at.index(i).child("imagePullPolicy"), given, &[ALWAYS]);
                    return Err(review.forbid(object, fault.to_string()));
                }
            }
        }
        for (i, volume) in volumes(pod) {
            let given = volume["image"].get("pullPolicy").and_then(Value::as_str).unwrap_or("");
            if given != ALWAYS {
                let at = spec.child("volumes");
                let at = at.index(i);
                let fault =
                    FieldError::not_supported(&at.child("image").child("pullPolicy"), given, &[ALWAYS]);
                return Err(review.forbid(object, fault.to_string()));
            }
        }
        Ok(())
    }
}
