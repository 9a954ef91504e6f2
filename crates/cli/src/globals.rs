//! The flags that every command takes.

/// How to reach the server and as whom.
pub const CONNECTION: &str = "as text, as-group array, as-uid text, as-user-extra array, cache-dir text, \
     certificate-authority text, client-certificate text, client-key text, cluster text, context text, \
     disable-compression bool=false, insecure-skip-tls-verify bool=false, kubeconfig text, \
     match-server-version bool=false, n namespace text, password text, request-timeout text=0, s server text, \
     tls-server-name text, token text, user text, username text, warnings-as-errors bool=false";

/// What the program does beside its work. Of these only `--v` and `--vmodule` are not acted on.
pub const PROGRAM: &str = "kuberc text, log-flush-frequency duration=5s, profile text=none, \
     profile-output text=profile.pprof, v v text=0, vmodule text";
