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
