//! What a Service takes exclusively is reserved before its commit: cluster addresses, with the fields about their
//! families, and ports of the nodes.
//!
//! Start with [`ServiceAllocation`]. `spec` decides which families and how many addresses, `ranges` knows from where,
//! `addresses` takes and gives back. `ports` decides which node ports, `book` knows which are taken. A dry run takes
//! nothing. Of several servers on one store each counts node ports as its cache shows them, and `locks` keep them
//! from giving out one at the same time. Upstream: `pkg/registry/core/service/storage`.

mod addresses;
mod book;
mod locks;
mod ports;
mod ranges;
mod spec;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::field::{ErrorList, FieldError, Path};
use api::{Error, Object};
use base::{Clock, Supervisor};

use super::plugin::{Operation, Review};
use super::reservation::{Attempt, Committed, Hold, Reservation, Reserver};
use crate::cache::Cache;
use crate::cache::lookup::Lookup;
use crate::eventual::Eventual;
use addresses::{Addresses, Grant, Parent, Refusal};
use book::{Book, Claim, ClaimId};
use locks::{Lock, Locks};
use ports::{Hints, Taking};
use ranges::{Family, Ranges};
use spec::Addressing;

/// The reserver of Services.
pub struct ServiceAllocation {
    lookup: Lookup,
    addresses: Arc<Addresses>,
    ports: Arc<Ports>,
    locks: Arc<Locks>,
}

/// How often ports are chosen anew that another server has taken meanwhile.
const CHOICES: usize = 16;

/// The node ports, counted from the first time that somebody asks.
struct Ports {
    lookup: Lookup,
    clock: Arc<dyn Clock>,
    book: Mutex<Option<Book>>,
}

impl Ports {
    /// Does something with the book; `None` where Services are not cached.
    fn with_book<T>(&self, act: impl FnOnce(&mut Book) -> T) -> Option<T> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if book.is_none() {
            *book = Book::open(self.lookup.clone());
        }
        book.as_mut().map(act)
    }
}

impl ServiceAllocation {
    pub fn new(cache: &Cache, clock: Arc<dyn Clock>, supervisor: Supervisor) -> Self {
        let lookup = Lookup::new(cache.clone());
        let ports = Ports { lookup: lookup.clone(), clock: Arc::clone(&clock), book: Mutex::default() };
        let addresses = Addresses::new(cache.clone(), clock, supervisor.clone());
        let locks = Locks::new(cache.clone(), supervisor);
        Self { lookup, addresses, ports: Arc::new(ports), locks }
    }

    async fn allocate(
        &self,
        review: &Review<'_>,
        service: &mut Object,
        held: Option<Reservation>,
    ) -> Result<Option<Reservation>, Error> {
        if self.lookup.may_lag() {
            self.lookup.freshen().await;
        }
        let held = held.as_ref().and_then(Reservation::hold::<Taken>);
        let mut taken = self.allocate_addresses(review, service, held).await?;
        if self.lookup.may_lag() {
            self.allocate_ports_among_servers(review, service, held, &mut taken).await?;
        } else {
            taken.claim = Mutex::new(self.allocate_ports(review, service, held, &Hints::default())?);
        }
        Ok(taken.reservation())
    }

    /// Fills in node ports that no other server gives out at the same time.
    async fn allocate_ports_among_servers(
        &self,
        review: &Review<'_>,
        service: &mut Object,
        held: Option<&Taken>,
        taken: &mut Taken,
    ) -> Result<(), Error> {
        let mut known = held.map(Taken::take_locks).unwrap_or_default();
        let mut hints = Hints::default();
        for _ in 0..CHOICES {
            let mut filled = service.clone();
            let Some(claim) = self.allocate_ports(review, &mut filled, held, &hints)? else {
                *service = filled;
                return Ok(());
            };
            let ports = self.ports.with_book(|book| book.claimed(claim)).unwrap_or_default();
            let withdraw = || self.ports.with_book(|book| book.withdraw(claim));
            let (locks, missed) = self.locks.take(&ports, known).await.map_err(|error| {
                withdraw();
                Error::internal(format!("failed to allocate a nodePort: {error}"))
            })?;
            if let Some(refused) = missed.iter().find_map(|port| ports::refused(service, *port)) {
                withdraw();
                return Err(refused);
            }
            // What others have written before the locks were this server's.
            self.lookup.freshen().await;
            let is_sole = self.ports.with_book(|book| {
                book.catch_up(self.ports.clock.now());
                book.is_sole(claim)
            });
            if missed.is_empty() && is_sole != Some(false) {
                *service = filled;
                taken.claim = Mutex::new(Some(claim));
                taken.locks = Mutex::new(locks);
                return Ok(());
            }
            withdraw();
            hints.preferred = locks.iter().map(|lock| lock.port).collect();
            hints.avoided.extend(missed);
            known = locks;
        }
        Err(Error::internal("failed to allocate a nodePort: other servers took each that was chosen"))
    }

    async fn allocate_addresses(
        &self,
        review: &Review<'_>,
        service: &mut Object,
        held: Option<&Taken>,
    ) -> Result<Taken, Error> {
        let old = review.old.map(Addressing::of);
        let mut new = Addressing::of(service);
        let ranges = Ranges::read(&self.lookup);
        settle(service, &mut new, old.as_ref(), &ranges)
            .map_err(|errors| Error::invalid(&review.resource.group_kind(), service.name(), &errors))?;
        let mut taken = self.nothing(review.old.unwrap_or(service));
        if takes_addresses(&new, old.as_ref()) {
            let mut known = held.map(Taken::take_grants).unwrap_or_default();
            let had = old.as_ref().map_or(0, |old| old.assigned().count());
            for slot in had..new.families.len() {
                let want = Want::of(&new, slot);
                let address = if review.dry_run {
                    want.pretend(&ranges)
                } else {
                    let grant = self.take(&want, &ranges, &taken.parent, &mut known).await;
                    grant.map(|grant| taken.add(grant))
                };
                let address = address.map_err(|why| want.refused(review, service, &new, &why))?;
                new.assign(slot, address);
            }
        }
        if !new.is_external() {
            new.write(service);
        }
        let before: Vec<IpAddr> = old.iter().flat_map(Addressing::assigned).collect();
        let is_kept = |address: &IpAddr| new.assigned().any(|kept| kept == *address);
        if review.old.is_some_and(|old| old.deletion_timestamp().is_some()) {
            taken.freed_if_removed.clone_from(&before);
        }
        taken.freed_if_written = before.into_iter().filter(|address| !is_kept(address)).collect();
        Ok(taken)
    }

    /// Fills in node ports, and claims those that the Service did not have.
    fn allocate_ports(
        &self,
        review: &Review<'_>,
        service: &mut Object,
        held: Option<&Taken>,
        hints: &Hints,
    ) -> Result<Option<ClaimId>, Error> {
        let claimed = self.ports.with_book(|book| {
            book.catch_up(self.ports.clock.now());
            // What an earlier attempt of the same request holds must not count against it.
            if let Some(id) = held.and_then(Taken::take_claim) {
                book.withdraw(id);
            }
            let mut taking = Taking::new(book, hints, review.dry_run);
            taking.fill(service, review.old)?;
            let ports = std::mem::take(&mut taking.taken);
            let base = review.old.and_then(|old| old.resource_version().parse().ok());
            let claims = !ports.is_empty() && !review.dry_run;
            Ok(claims.then(|| book.claim(Claim { uid: service.uid().to_owned(), base, ports })))
        });
        claimed.unwrap_or(Ok(None))
    }

    /// Takes an address, one that an earlier attempt of the request has taken if there is.
    async fn take(
        &self,
        want: &Want,
        ranges: &Ranges,
        parent: &Parent,
        known: &mut Vec<Grant>,
    ) -> Result<Grant, Why> {
        if let Some(at) = known.iter().position(|grant| want.suits(grant.address)) {
            return Ok(known.swap_remove(at));
        }
        if let Some(address) = want.address {
            if !ranges.ready.iter().any(|range| range.contains(address)) {
                return Err(Why::NoRange);
            }
            return Ok(self.addresses.take(address, parent).await?);
        }
        for range in ranges.of(want.family) {
            match self.addresses.take_any(range, parent).await {
                Err(Refusal::Full) => {}
                other => return Ok(other?),
            }
        }
        Err(Refusal::Full.into())
    }

    /// What a deletion, or a change that lets one come to its end, gives back.
    fn leaving(&self, service: &Object) -> Option<Reservation> {
        let freed_if_removed = Addressing::of(service).assigned().collect();
        Taken { freed_if_removed, ..self.nothing(service) }.reservation()
    }

    fn nothing(&self, service: &Object) -> Taken {
        Taken {
            grants: Mutex::default(),
            claim: Mutex::default(),
            locks: Mutex::default(),
            freed_if_written: Vec::new(),
            freed_if_removed: Vec::new(),
            parent: Parent::of(service),
            addresses: Arc::clone(&self.addresses),
            ports: Arc::clone(&self.ports),
        }
    }
}

/// Fills in families and policy, of addresses that are sound.
fn settle(
    service: &Object,
    new: &mut Addressing,
    old: Option<&Addressing>,
    ranges: &Ranges,
) -> Result<(), ErrorList> {
    if !new.keeps_preference(old) {
        let errors = resources::service_address_errors(service);
        if !errors.is_empty() {
            return Err(errors);
        }
    }
    new.settle(old, ranges)
}

impl Reserver for ServiceAllocation {
    fn reserve<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a mut Object>,
        held: Option<Reservation>,
    ) -> Eventual<'a, Result<Option<Reservation>, Error>> {
        if !review.is_about("", "services") {
            return Ok(None).into();
        }
        let is_whole = review.attributes.subresource.is_empty();
        match (review.operation, object) {
            (Operation::Create | Operation::Update, Some(service)) if is_whole => {
                Eventual::later(self.allocate(review, service, held))
            }
            (Operation::Delete, _) => Ok(review.old.and_then(|old| self.leaving(old))).into(),
            (Operation::Update, _) => {
                let leaving = review.old.filter(|old| old.deletion_timestamp().is_some());
                Ok(leaving.and_then(|old| self.leaving(old))).into()
            }
            _ => Ok(None).into(),
        }
    }
}

/// Whether the Service is to get addresses that it did not have.
fn takes_addresses(new: &Addressing, old: Option<&Addressing>) -> bool {
    !new.is_external()
        && !new.is_headless()
        && !new.keeps_preference(old)
        && old.is_none_or(|old| !old.is_headless() && old.assigned().count() < new.families.len())
}

/// One address that a Service is to get.
struct Want {
    slot: usize,
    family: Family,
    /// The address that its author chose.
    address: Option<IpAddr>,
}

impl Want {
    fn of(new: &Addressing, slot: usize) -> Self {
        let address = new.addresses.get(slot).and_then(|address| address.parse().ok());
        let family = new.families.get(slot).and_then(|family| Family::named(family));
        Self { slot, family: family.unwrap_or(Family::V4), address }
    }

    fn suits(&self, address: IpAddr) -> bool {
        self.address.map_or(Family::of(address) == self.family, |wanted| wanted == address)
    }

    /// What a dry run shows: as upstream, the range's own address for any.
    fn pretend(&self, ranges: &Ranges) -> Result<IpAddr, Why> {
        let Some(range) = ranges.of(self.family).next() else { return Err(Why::NoRange) };
        match self.address {
            None => Ok(range.network()),
            Some(address) if ranges.ready.iter().any(|range| range.contains(address)) => Ok(address),
            Some(_) => Err(Why::NotIn(range.to_string())),
        }
    }

    /// The refusal in upstream's words: who chose the address is told so by the field.
    fn refused(&self, review: &Review<'_>, service: &Object, new: &Addressing, why: &Why) -> Error {
        let Some(address) = new.addresses.get(self.slot) else {
            return Error::internal(format!("failed to allocate a serviceIP: {}", why.words("")));
        };
        let spec = Path::root("spec");
        let detail = format!("failed to allocate IP {address}: {}", why.words(address));
        let error = FieldError::invalid(&spec.child("clusterIPs"), new.addresses.clone(), detail);
        Error::invalid(&review.resource.group_kind(), service.name(), &vec![error])
    }
}

/// Why a Service does not get an address.
enum Why {
    Refused(Refusal),
    /// No range has the address.
    NoRange,
    /// The same in the words of a dry run, with a range that does not have the address.
    NotIn(String),
}

impl From<Refusal> for Why {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Why {
    fn words(&self, address: &str) -> String {
        match self {
            Self::Refused(refusal) => refusal.to_string(),
            Self::NoRange => "the provided network does not match the current range".to_owned(),
            Self::NotIn(range) => format!(
                "the provided IP ({address}) is not in the valid range. The range of valid IPs is {range}"
            ),
        }
    }
}

/// What one write takes and gives back.
struct Taken {
    grants: Mutex<Vec<Grant>>,
    claim: Mutex<Option<ClaimId>>,
    /// Of the claimed ports, where other servers could give them out; given back after the write.
    locks: Mutex<Vec<Lock>>,
    freed_if_written: Vec<IpAddr>,
    freed_if_removed: Vec<IpAddr>,
    parent: Parent,
    addresses: Arc<Addresses>,
    ports: Arc<Ports>,
}

fn open<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Taken {
    fn add(&self, grant: Grant) -> IpAddr {
        let address = grant.address;
        open(&self.grants).push(grant);
        address
    }

    /// The addresses that are held, from now on the caller's.
    fn take_grants(&self) -> Vec<Grant> {
        std::mem::take(&mut *open(&self.grants))
    }

    /// The locks of ports, from now on the caller's.
    fn take_locks(&self) -> Vec<Lock> {
        std::mem::take(&mut *open(&self.locks))
    }

    /// The claim of ports, from now on the caller's.
    fn take_claim(&self) -> Option<ClaimId> {
        open(&self.claim).take()
    }

    /// `None` where the write neither takes nor gives back anything.
    fn reservation(self) -> Option<Reservation> {
        let is_empty = self.freed_if_removed.is_empty()
            && self.freed_if_written.is_empty()
            && open(&self.grants).is_empty()
            && open(&self.claim).is_none();
        (!is_empty).then(|| Reservation::new(self))
    }
}

impl Hold for Taken {
    /// The claim of ports stays until the cache shows the Service.
    fn confirm(self: Box<Self>, committed: Committed) {
        self.take_grants().into_iter().for_each(Grant::keep);
        let freed = match committed {
            Committed::Written => &self.freed_if_written,
            Committed::Removed => &self.freed_if_removed,
        };
        for address in freed {
            self.addresses.free(*address, self.parent.clone());
        }
    }

    fn release(self: Box<Self>) {
        if let Some(id) = self.take_claim() {
            self.ports.with_book(|book| book.withdraw(id));
        }
    }

    /// Addresses stay taken: the repairing controller finds out whether there is a Service.
    fn leave_open(self: Box<Self>, _attempt: &Attempt) {
        self.take_grants().into_iter().for_each(Grant::keep);
        self.take_locks().into_iter().for_each(Lock::leave);
        if let Some(id) = self.take_claim() {
            let now = self.ports.clock.now();
            self.ports.with_book(|book| book.doubt(id, now));
        }
    }
}
