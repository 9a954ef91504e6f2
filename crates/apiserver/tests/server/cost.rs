//! What the seams of the pipeline cost while nothing waits: plugins that answer at once allocate nothing, so a
//! request of a server with many of them allocates as often as one of a server with none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::{Error, Object};
use apiserver::admission::{Admission, Immediate, Reservation, Reserver, Review};
use apiserver::identity::authn::{self, Authenticator, Credentials};
use apiserver::identity::authz::{self, Authorizer, Decision};
use apiserver::request::{Attributes, User};
use apiserver::{Deps, Eventual};

use crate::counting::allocations;
use crate::harness::{CONFIG_MAPS, Harness, TokensByName, config_map};

/// How many of each sort of plugin the crowded server has.
const MANY: usize = 100;

/// Has no opinion, and counts how often it is asked.
#[derive(Clone, Default)]
struct Indifferent(Arc<AtomicUsize>);

impl Indifferent {
    fn asked(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Immediate for Indifferent {
    fn name(&self) -> &'static str {
        "Indifferent"
    }

    fn change(&self, _review: &Review<'_>, _object: Option<&mut Object>) -> Result<(), Error> {
        self.asked();
        Ok(())
    }

    fn check(&self, _review: &Review<'_>, _object: Option<&Object>) -> Result<(), Error> {
        self.asked();
        Ok(())
    }
}

impl Reserver for Indifferent {
    fn reserve<'a>(
        &'a self,
        _review: &'a Review<'_>,
        _object: Option<&'a mut Object>,
        _held: Option<Reservation>,
    ) -> Eventual<'a, Result<Option<Reservation>, Error>> {
        self.asked();
        Ok(None).into()
    }
}

impl Authorizer for Indifferent {
    fn authorize<'a>(&'a self, _attributes: &'a Attributes) -> Eventual<'a, Decision> {
        self.asked();
        Decision::NoOpinion(String::new()).into()
    }
}

impl Authenticator for Indifferent {
    fn authenticate<'a>(
        &'a self,
        _credentials: &'a Credentials<'_>,
    ) -> Eventual<'a, Result<Option<Arc<User>>, Error>> {
        self.asked();
        Ok(None).into()
    }
}

/// The fewest allocations of this thread, which runs all tasks of the test, in one of many creates.
async fn creating(change: impl FnOnce(&mut Deps)) -> usize {
    let harness = Harness::made_of(change).await;
    let mut fewest = usize::MAX;
    for n in 0..50 {
        let map = config_map(&format!("map-{n:02}"));
        let before = allocations();
        let answer = harness.post(CONFIG_MAPS, &map).await;
        fewest = fewest.min(allocations() - before);
        answer.ok();
    }
    fewest
}

#[tokio::test]
async fn a_create_allocates_nothing_for_plugins_that_answer_at_once() {
    let asked = Indifferent::default();
    let without = creating(|_| ()).await;
    let with = creating(|deps| {
        let crowd = || (0..MANY).map(|_| asked.clone());
        deps.admission = crowd().map(|one| Arc::new(one) as Arc<dyn Admission>).collect();
        deps.reservers = crowd().map(|one| Arc::new(one) as Arc<dyn Reserver>).collect();
        let mut authorizers: Vec<_> = crowd().map(|one| Arc::new(one) as Arc<dyn Authorizer>).collect();
        authorizers.push(Arc::clone(&deps.authorizer));
        deps.authorizer = Arc::new(authz::Union(authorizers));
    })
    .await;
    assert_eq!(asked.0.load(Ordering::Relaxed), 50 * MANY * 4, "changed, reserved, checked, authorized");
    assert_eq!(with, without, "allocations of a create");
}

#[tokio::test]
async fn authentication_at_once_allocates_nothing() {
    let asked = Indifferent::default();
    let of = |count: usize| {
        let crowd = (0..count).map(|_| Arc::new(asked.clone()) as Arc<dyn Authenticator>);
        let known = Arc::new(TokensByName) as Arc<dyn Authenticator>;
        authn::Union(crowd.chain([known]).collect())
    };
    let credentials = Credentials { bearer_token: Some("token-jane"), ..Credentials::default() };
    let mut counted = Vec::new();
    for union in [of(0), of(MANY)] {
        let before = allocations();
        let user = union.authenticate(&credentials).await;
        counted.push(allocations() - before);
        assert!(user.is_ok_and(|user| user.is_some()));
    }
    assert_eq!(counted[0], counted[1]);
    assert_eq!(asked.0.load(Ordering::Relaxed), MANY);
}
