//! Who a container runs as: names looked up in the image's own `/etc/passwd` and `/etc/group`.
//!
//! Pure but for [`AccountFiles::read`], which never follows a link out of the image.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use serde::{Deserialize, Serialize};

/// Account files longer than this are cut: they come from outside.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// The image's account files; empty where the image has none.
#[derive(Debug, Clone, Default)]
pub struct AccountFiles {
    pub passwd: String,
    pub group: String,
}

/// Numeric identity of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
}

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    /// `user`, `uid`, `user:group`, `uid:gid`; empty for root.
    pub user: &'a str,
    pub group: Option<u32>,
    pub supplemental: &'a [i64],
    /// Leave out the groups that the image's `/etc/group` puts the user into.
    pub strict: bool,
}

/// Why nobody could be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    #[error("group id {0} is out of range")]
    GroupRange(i64),
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl AccountFiles {
    /// Reads the files from the topmost of `layers` that has them.
    pub fn read(layers: &[PathBuf]) -> io::Result<Self> {
        Ok(Self { passwd: read_from(layers, "etc/passwd")?, group: read_from(layers, "etc/group")? })
    }

    /// The numeric identity of who is wanted.
    pub fn resolve(&self, wanted: &Wanted<'_>) -> Result<Identity, UserError> {
        let (user, group) = match wanted.user.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (wanted.user, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let account = self.account(user);
        let uid = match (&account, user.parse::<u32>()) {
            (_, Ok(uid)) => uid,
            (Some(account), Err(_)) => account.uid,
            (None, Err(_)) => return Err(UserError::NoUser(user.to_owned())),
        };
        let gid = match (wanted.group, group) {
            (Some(gid), _) => gid,
            (None, Some(group)) => self.group_id(group)?,
            (None, None) => account.as_ref().map_or(0, |a| a.gid),
        };
        let mut additional = vec![gid];
        if let (false, Some(account)) = (wanted.strict, &account) {
            additional.extend(self.groups_of(account.name));
        }
        for gid in wanted.supplemental {
            additional.push(u32::try_from(*gid).map_err(|_| UserError::GroupRange(*gid))?);
        }
        additional.sort_unstable();
        additional.dedup();
        Ok(Identity { uid, gid, additional_gids: additional })
    }

    /// The home directory of `uid`: `/` for one that has no account or no home.
    pub fn home(&self, uid: u32) -> &str {
        let home = self.account(&uid.to_string()).map_or("", |account| account.home);
        if home.is_empty() { "/" } else { home }
    }

    fn account(&self, user: &str) -> Option<Account<'_>> {
        let wanted_uid = user.parse::<u32>().ok();
        self.passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let uid: u32 = fields.nth(1)?.parse().ok()?;
            let gid: u32 = fields.next()?.parse().ok()?;
            let home = fields.nth(1).unwrap_or_default();
            let matches = wanted_uid.map_or(name == user, |wanted| wanted == uid);
            matches.then_some(Account { name, uid, gid, home })
        })
    }

    fn group_id(&self, group: &str) -> Result<u32, UserError> {
        if let Ok(gid) = group.parse() {
            return Ok(gid);
        }
        self.groups()
            .find_map(|(name, gid, _)| (name == group).then_some(gid))
            .ok_or_else(|| UserError::NoGroup(group.to_owned()))
    }

    fn groups_of<'a>(&'a self, user: &'a str) -> impl Iterator<Item = u32> + 'a {
        self.groups()
            .filter(move |(_, _, members)| members.split(',').any(|m| m == user))
            .map(|(_, gid, _)| gid)
    }

    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let gid = fields.nth(1)?.parse().ok()?;
            Some((name, gid, fields.next().unwrap_or_default()))
        })
    }
}

fn read_from(layers: &[PathBuf], file: &str) -> io::Result<String> {
    for layer in layers {
        let root = rustix::fs::openat(
            CWD,
            layer,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let found = match rustix::fs::openat2(&root, file, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
            Ok(found) => found,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => continue,
            // A whiteout is a device nobody can open: the file was deleted in this layer.
            Err(rustix::io::Errno::NXIO | rustix::io::Errno::NODEV) => return Ok(String::new()),
            Err(error) => return Err(error.into()),
        };
        if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) != FileType::RegularFile {
            return Ok(String::new());
        }
        let mut content = Vec::new();
        File::from(found).take(MAX_FILE_BYTES).read_to_end(&mut content)?;
        return Ok(String::from_utf8_lossy(&content).into_owned());
    }
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn files() -> AccountFiles {
        AccountFiles {
            passwd: "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/:/bin/sh\nbroken\n".to_owned(),
            group: "root:x:0:\nwww:x:34:\nextra:x:50:web,other\n".to_owned(),
        }
    }

    fn resolve(user: &str, strict: bool) -> Result<Identity, UserError> {
        files().resolve(&Wanted { user, group: None, supplemental: &[99], strict })
    }

    #[test]
    fn names_and_numbers_find_the_same_account() {
        let expected = Identity { uid: 33, gid: 34, additional_gids: vec![34, 50, 99] };
        assert_eq!(resolve("web", false), Ok(expected.clone()));
        assert_eq!(resolve("33", false), Ok(expected));
        assert_eq!(resolve("web", true).map(|i| i.additional_gids), Ok(vec![34, 99]));
    }

    #[test]
    fn whoever_has_no_account_lives_at_the_root() {
        assert_eq!((files().home(0), files().home(33), files().home(1234)), ("/root", "/", "/"));
        assert_eq!(AccountFiles::default().home(0), "/");
    }

    #[test]
    fn numbers_need_no_account_but_names_do() {
        assert_eq!(
            resolve("1000:extra", false),
            Ok(Identity { uid: 1000, gid: 50, additional_gids: vec![50, 99] })
        );
        assert_eq!(resolve("nobody", false), Err(UserError::NoUser("nobody".to_owned())));
        assert_eq!(resolve("web:none", false), Err(UserError::NoGroup("none".to_owned())));
    }

    proptest! {
        #[test]
        fn any_account_files_name_somebody_or_nobody(
            passwd in "([a-z]{0,2}:x?:[0-9-]{0,11}:[0-9]{0,3}(:[a-z/]{0,4}){0,3}\n){0,4}|\\PC{0,60}",
            group in "([a-z]{0,2}:x?:[0-9]{0,11}:[a-z,]{0,6}\n){0,4}|\\PC{0,60}",
            user in "[a-z]{0,2}|[0-9]{1,11}(:[a-z0-9]{0,3})?|\\PC{0,12}",
            strict: bool,
        ) {
            let files = AccountFiles { passwd, group };
            let wanted = Wanted { user: &user, group: None, supplemental: &[7], strict };
            if let Ok(identity) = files.resolve(&wanted) {
                prop_assert!(identity.additional_gids.contains(&identity.gid), "{identity:?}");
                prop_assert!(identity.additional_gids.contains(&7) && identity.additional_gids.is_sorted());
                if let Ok(uid) = user.split(':').next().unwrap_or_default().parse::<u32>() {
                    prop_assert_eq!(identity.uid, uid);
                }
            }
        }
    }
}
