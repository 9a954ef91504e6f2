use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::*;

fn template(image: &str) -> PodTemplateSpec {
    let container = Container { name: "c".into(), image: Some(image.to_owned()), ..Container::default() };
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(BTreeMap::from([("app".to_owned(), "a".to_owned())])),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
    }
}

fn owner(name: &str) -> OwnerReference {
    OwnerReference { name: name.to_owned(), uid: format!("uid-{name}"), ..OwnerReference::default() }
}

fn workload<'a>(
    owner: &'a OwnerReference,
    template: &'a PodTemplateSpec,
    revisions: &'a [Arc<ControllerRevision>],
    namesakes: &'a [Arc<ControllerRevision>],
) -> Workload<'a> {
    Workload {
        owner,
        namespace: "ns",
        annotations: None,
        template,
        hash_label: "controller.kubernetes.io/hash",
        collisions: None,
        revisions,
        namesakes,
    }
}

#[test]
fn a_template_gets_a_revision_once_and_a_new_number_when_it_comes_back() {
    let owner = owner("web");
    let (first, second) = (template("v1"), template("v2"));
    let one = present(&workload(&owner, &first, &[], &[]));
    assert_eq!(one.revision.revision, 1);
    assert!(matches!(one.write, Some(Action::Create { .. })));
    assert_eq!(one.revision.data.as_ref().expect("data").0["spec"]["template"]["$patch"], "replace");
    assert_eq!(template_of(&one.revision), Some(first.clone()));
    let labels = one.revision.metadata.labels.as_ref().expect("labels");
    let hash = &labels["controller.kubernetes.io/hash"];
    assert_eq!(one.name(), format!("web-{hash}"));

    let held = [one.revision.clone()];
    let again = present(&workload(&owner, &first, &held, &[]));
    assert!(again.write.is_none() && again.revision == one.revision);

    let two = present(&workload(&owner, &second, &held, &[]));
    assert_eq!(two.revision.revision, 2);
    assert_ne!(two.name(), one.name());

    let held = [one.revision.clone(), two.revision.clone()];
    let back = present(&workload(&owner, &first, &held, &[]));
    assert_eq!((back.name(), back.revision.revision), (one.name(), 3));
    let Some(Action::MergePatch { patch, .. }) = back.write else { panic!("a new number is written") };
    assert_eq!(patch["revision"], 3);
}

#[test]
fn a_name_that_is_taken_is_avoided() {
    let owner = owner("web");
    let (mine, other) = (template("v1"), template("v2"));
    let free = present(&workload(&owner, &mine, &[], &[]));
    let mut taken = ControllerRevision::clone(&free.revision);
    taken.data = Some(RawExtension(data_of(&other)));
    let namesakes = [Arc::new(taken)];
    let second = present(&workload(&owner, &mine, &[], &namesakes));
    assert_eq!(second.collisions, 1);
    assert_ne!(second.name(), free.name());
    assert!(matches!(second.write, Some(Action::Create { .. })));
    // One of the same data will do.
    let namesakes = [free.revision.clone()];
    let shared = present(&workload(&owner, &mine, &[], &namesakes));
    assert!(shared.write.is_none() && shared.collisions == 0 && shared.name() == free.name());
}

#[test]
fn the_names_of_revisions_are_stable() {
    // These values must never change: they name the revisions of running clusters.
    assert_eq!(hash(&data_of(&template("v1")), 0), hash(&data_of(&template("v1")), 0));
    assert_ne!(hash(&data_of(&template("v1")), 0), hash(&data_of(&template("v1")), 1));
    assert_eq!(hash(&json!({"spec": {}}), 0), "586969cc4");
}

#[test]
fn the_oldest_idle_revisions_go() {
    let revision = |number: i64| {
        Arc::new(ControllerRevision {
            metadata: ObjectMeta { name: Some(format!("r{number}")), ..ObjectMeta::default() },
            data: None,
            revision: number,
        })
    };
    let all: Vec<_> = [4, 1, 3, 2].map(revision).to_vec();
    let gone = |limit| -> Vec<String> {
        let is_live = |revision: &ControllerRevision| name_of(revision) == "r1";
        let deletions = truncation(&all, is_live, limit);
        deletions
            .iter()
            .map(|action| match action {
                Action::Delete { target, .. } => target.name.clone(),
                other => panic!("unexpected {other:?}"),
            })
            .collect()
    };
    assert_eq!(gone(Some(1)), ["r2", "r3"]);
    assert_eq!(gone(Some(0)), ["r2", "r3", "r4"]);
    assert_eq!(gone(None), Vec::<String>::new());
    assert_eq!(gone(Some(-1)), Vec::<String>::new());
}
