//! The `RuntimeDefault` seccomp profile: what a program may ask of the kernel unless told otherwise.
//!
//! The set is the one other CRI runtimes ship (containerd `contrib/seccomp`), as tables.

use std::collections::BTreeSet;
use std::io;

use libcontainer::oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

/// Allowed for every process. Names that an architecture lacks are skipped when the filter is made.
const COMMON: &str = "
    accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod chown chown32
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create
    epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2
    execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir
    fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork
    fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex
    futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64
    getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid
    getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit
    get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid getuid32
    getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy
    io_getevents io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill
    landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen
    listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise
    map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2
    mlockall mmap mmap2 modify_ldt mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
    mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd
    msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause
    pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl
    pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read
    readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages
    removexattr removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam
    sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield
    seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg
    sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid
    setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit
    set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32 setxattr setxattrat shmat
    shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair
    splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee
    tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
    timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times
    tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64
    utimes vfork vmsplice wait4 waitid waitpid write writev process_vm_readv process_vm_writev ptrace
";

/// Allowed to those who hold a capability.
const BY_CAPABILITY: [(&str, &str); 12] = [
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    ("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
];

/// New namespaces by `clone` are for CAP_SYS_ADMIN: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const CLONE_NAMESPACE_FLAGS: u64 = 0x7E02_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const AF_VSOCK: u64 = 40;

/// The profile for a process whose bounding set is `capabilities`, as the `seccomp` of an OCI spec.
pub fn runtime_default(capabilities: &BTreeSet<String>) -> Value {
    let mut names: BTreeSet<&str> = COMMON.split_whitespace().collect();
    for (capability, allowed) in BY_CAPABILITY {
        if capabilities.contains(capability) {
            names.extend(allowed.split_whitespace());
        }
    }
    let mut rules = vec![
        json!({"names": names, "action": "SCMP_ACT_ALLOW"}),
        // Sockets into the machine below are not for containers.
        json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW",
               "args": [{"index": 0, "value": AF_VSOCK, "op": "SCMP_CMP_NE"}]}),
    ];
    // PER_LINUX, UNAME26, PER_LINUX32, both, and asking.
    for persona in [0u64, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        rules.push(json!({"names": ["personality"], "action": "SCMP_ACT_ALLOW",
                          "args": [{"index": 0, "value": persona, "op": "SCMP_CMP_EQ"}]}));
    }
    if !capabilities.contains("CAP_SYS_ADMIN") {
        let flags_argument = if cfg!(target_arch = "s390x") { 1 } else { 0 };
        rules.push(json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW",
                          "args": [{"index": flags_argument, "value": CLONE_NAMESPACE_FLAGS, "valueTwo": 0,
                                    "op": "SCMP_CMP_MASKED_EQ"}]}));
        // Its flags lie in memory a filter can't read; ENOSYS makes C libraries fall back to clone.
        rules.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}));
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": architectures(),
        "syscalls": rules,
    })
}

/// The largest profile that is read from a file, in bytes; those that people write have some ten thousand.
pub const MAX_PROFILE_BYTES: u64 = 1 << 20;

/// A profile of the node's own, in the form of the OCI runtime specification (`linux.seccomp`).
///
/// # Errors
/// When the text is larger than [`MAX_PROFILE_BYTES`] or not such a profile.
pub fn local(text: &[u8]) -> io::Result<Value> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    if text.len() as u64 > MAX_PROFILE_BYTES {
        return Err(invalid(format!("it is larger than {MAX_PROFILE_BYTES} bytes")));
    }
    // What the container's maker could not read would fail there with less to go by.
    serde_json::from_slice::<LinuxSeccomp>(text)
        .and_then(|_| serde_json::from_slice(text))
        .map_err(|error| invalid(format!("it is no OCI seccomp profile: {error}")))
}

fn architectures() -> &'static [&'static str] {
    match std::env::consts::ARCH {
        "x86_64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allowed(capabilities: &[&str], name: &str) -> bool {
        let set = capabilities.iter().map(|c| (*c).to_owned()).collect();
        let profile = runtime_default(&set);
        let rules = profile["syscalls"].as_array().cloned().unwrap_or_default();
        rules.iter().any(|r| {
            r["action"] == "SCMP_ACT_ALLOW"
                && r["args"].is_null()
                && r["names"].as_array().is_some_and(|n| n.iter().any(|n| n == name))
        })
    }

    #[test]
    fn what_is_dangerous_needs_its_capability() {
        for (capability, name) in [("CAP_SYS_ADMIN", "mount"), ("CAP_SYS_MODULE", "init_module")] {
            assert!(!allowed(&[], name), "{name} is allowed to everybody");
            assert!(allowed(&[capability], name), "{name} is not allowed with {capability}");
        }
        assert!(allowed(&[], "openat") && !allowed(&[], "keyctl") && !allowed(&[], "io_uring_setup"));
    }

    #[test]
    fn it_reads_as_an_oci_profile() {
        let profile = runtime_default(&BTreeSet::new());
        serde_json::from_value::<LinuxSeccomp>(profile).expect("a valid profile");
    }

    #[test]
    fn a_file_that_is_no_profile_says_so() {
        let why = |text: &str| local(text.as_bytes()).expect_err("not a profile").to_string();
        assert!(why("[]").starts_with("it is no OCI seccomp profile: "), "{}", why("[]"));
        assert!(why(r#"{"defaultAction": "NO_SUCH"}"#).contains("NO_SUCH"));
        assert_eq!(why(&" ".repeat((1 << 20) + 1)), "it is larger than 1048576 bytes");
        let allowing = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}"#;
        assert_eq!(local(allowing.as_bytes()).expect("a profile")["defaultAction"], "SCMP_ACT_ALLOW");
    }

    proptest! {
        /// Whatever is in the file: refused, or read whole by whoever makes the container.
        #[test]
        fn any_file_is_read_or_refused(
            action in "SCMP_ACT_(ALLOW|ERRNO|LOG|X)|\\PC{0,10}",
            names in proptest::collection::vec("[a-z0-9_]{0,12}", 0..4),
            number in any::<i64>(),
            noise in "[{}\\[\\]\":,a-zA-Z_0-9]{0,60}",
        ) {
            let made = json!({"defaultAction": action, "syscalls": [{"names": names, "action": "SCMP_ACT_ERRNO",
                "errnoRet": number, "args": [{"index": number, "value": number, "op": "SCMP_CMP_EQ"}]}]});
            for text in [made.to_string(), noise] {
                if let Ok(profile) = local(text.as_bytes()) {
                    prop_assert!(serde_json::from_value::<LinuxSeccomp>(profile).is_ok());
                }
            }
        }
    }
}
