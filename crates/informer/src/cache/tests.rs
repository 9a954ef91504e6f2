use std::sync::Mutex;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::ObjectMeta;

use super::*;

fn map(name: &str, uid: &str, version: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some("ns".into()),
            uid: Some(uid.into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

fn item(object: &ConfigMap) -> Item {
    Item::read(serde_json::to_vec(object).expect("JSON").into()).expect("an object")
}

#[tokio::test]
async fn a_relist_tells_what_came_what_changed_and_what_went() {
    let cache = Cache::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    cache.apply(map("a", "1", "1"));
    cache.subscribe(move |delta: &Delta<ConfigMap>| {
        let text = match delta {
            Delta::Applied { new, old } => format!("{} {}", if old.is_some() { "~" } else { "+" }, new.key),
            Delta::Deleted(old) => format!("- {}", old.key),
        };
        log.lock().expect("no panic in a handler").push(text);
    });
    cache.objects().replace(vec![item(&map("b", "2", "2")), item(&map("c", "3", "3"))]);
    cache.objects().replace(vec![item(&map("b", "2", "4")), item(&map("c", "9", "5"))]);
    cache.wait_synced().await;
    let seen = seen.lock().expect("no panic in a handler").clone();
    assert_eq!(seen, ["+ ns/a", "- ns/a", "+ ns/b", "+ ns/c", "~ ns/b", "- ns/c", "+ ns/c"]);
    assert_eq!(cache.named_like("ns", "").len(), 2);
    assert_eq!(cache.named_like("n", "").len(), 0);
    assert!(cache.any_in("ns") && !cache.any_in("n"));
}

#[test]
fn an_index_follows_what_comes_changes_and_goes() {
    let cache = Cache::new();
    let labelled = |name: &str, version: &str, value: &str| {
        let mut object = map(name, name, version);
        object.metadata.labels = Some([("app".to_owned(), value.to_owned())].into());
        object
    };
    cache.apply(labelled("a", "1", "x"));
    let by_app = |object: &Cached<ConfigMap>, found: &mut dyn FnMut(&str)| {
        if let Some(app) = object.label("app") {
            found(app);
            found(app);
        }
    };
    let index = cache.index("app", by_app);
    let names = |value: &str| -> Vec<String> {
        index.get(value).iter().map(|object| object.name().to_owned()).collect()
    };
    assert_eq!(names("x"), ["a"], "what was there before the index");
    cache.apply(labelled("b", "2", "x"));
    cache.apply(labelled("c", "3", "y"));
    assert_eq!((names("x"), index.count("y")), (vec!["a".to_owned(), "b".to_owned()], 1));
    cache.apply(labelled("a", "4", "y"));
    assert_eq!((names("x"), names("y")), (vec!["b".to_owned()], vec!["a".to_owned(), "c".to_owned()]));
    cache.objects().remove(&Key::new("ns", "c"));
    assert_eq!(names("y"), ["a"]);
    assert_eq!(cache.index("app", by_app).keys("x"), [Key::new("ns", "b")], "one index of a name");
    cache.objects().replace(Vec::new());
    assert_eq!(index.count("x") + index.count("y"), 0);
}

#[test]
fn siblings_share_what_they_have_alike() {
    let cache = Cache::new();
    for name in ["a", "b"] {
        let mut object = map(name, name, "1");
        object.metadata.labels = Some([("app".to_owned(), "x".to_owned())].into());
        cache.apply(object);
    }
    let [a, b] = ["a", "b"].map(|name| cache.find(&Key::new("ns", name)).expect("put in above"));
    assert!(Arc::ptr_eq(&a.key.namespace, &b.key.namespace));
    assert_eq!(
        a.labels.iter().next().map(|(key, _)| key.as_ptr()),
        b.labels.iter().next().map(|(key, _)| key.as_ptr())
    );
}
