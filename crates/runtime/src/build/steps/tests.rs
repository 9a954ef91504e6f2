use super::*;

#[test]
fn the_hosts_network_needs_leave() {
    let network =
        |wanted, asked| network_of(wanted, asked).map_err(|failure| failure.message.replace(':', ""));
    assert_eq!(network(Network::Default, None), Ok(Network::Default));
    assert_eq!(network(Network::Default, Some("none")), Ok(Network::None));
    assert_eq!(network(Network::Default, Some("host")), Ok(Network::Host));
    assert_eq!(network(Network::None, Some("host")), Ok(Network::None));
    assert_eq!(network(Network::Host, Some("host")), Ok(Network::Host));
    for asked in [None, Some("default"), Some("none")] {
        let error = network(Network::Host, asked).expect_err("refused");
        assert!(error.starts_with("network.host is not allowed"), "{error}");
    }
    assert!(network(Network::Default, Some("bridge")).is_err());
}

#[test]
fn a_key_depends_on_the_time_of_the_files() {
    let parts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let now = key_of(&parts(&["a", "b"]), None);
    assert_eq!(now, key_of(&parts(&["a", "b"]), None));
    for other in [
        key_of(&parts(&["a", "b"]), Some(0)),
        key_of(&parts(&["ab"]), None),
        key_of(&parts(&["a", "b", "1"]), None),
    ] {
        assert_ne!(now, other);
    }
    assert_ne!(key_of(&parts(&["a"]), Some(1)), key_of(&parts(&["a"]), Some(2)));
}
