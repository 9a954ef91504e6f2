//! What connections through a Service cost, beside connections to the server's own address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::ground::{Ground, PORT, SERVER, SERVICE, inside};

/// Where the server listens for direct connections: to the Service's port, the kernel would have to find ports for
/// connections of both ways that have the same.
const DIRECT_PORT: u16 = 8081;
const TIME: Duration = Duration::from_secs(1);
/// Rounds, in turns, so that what else the machine does meets both.
const ROUNDS: usize = 9;
/// What the client asks for: data until it has enough, or the end at once.
const DATA: u8 = 1;
const END: u8 = 0;

/// Medians of rounds.
pub struct Traffic {
    pub direct: Figures,
    pub service: Figures,
}

#[derive(Clone, Copy)]
pub struct Figures {
    pub gbit_per_s: f64,
    pub connections_per_s: f64,
}

/// # Errors
/// When a connection is not made.
pub async fn measure(ground: &Ground) -> Result<Traffic> {
    for port in [PORT, DIRECT_PORT] {
        let listener = inside(&ground.server, move || TcpListener::bind((SERVER, port)))??;
        std::thread::spawn(move || serve(&listener));
    }
    let service = SocketAddr::from((SERVICE, 80));
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (to, found) in [(SocketAddr::from((SERVER, DIRECT_PORT)), &mut direct), (service, &mut through)] {
            let client = ground.client.try_clone()?;
            // Threads of namespaces of their own; the runtime goes on beside them.
            let figures = tokio::task::spawn_blocking(move || inside(&client, move || figures(to)));
            found.push(figures.await???);
        }
    }
    Ok(Traffic { direct: median(direct), service: median(through) })
}

fn median(mut all: Vec<Figures>) -> Figures {
    let middle = all.len() / 2;
    all.sort_unstable_by(|a, b| a.gbit_per_s.total_cmp(&b.gbit_per_s));
    let gbit_per_s = all[middle].gbit_per_s;
    all.sort_unstable_by(|a, b| a.connections_per_s.total_cmp(&b.connections_per_s));
    Figures { gbit_per_s, connections_per_s: all[middle].connections_per_s }
}

/// Serves one connection after the other, until the process ends.
fn serve(listener: &TcpListener) {
    let data = vec![7; 1 << 20];
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let mut asked = [END];
        // The client takes what it wants and goes.
        let _ = stream.read_exact(&mut asked);
        while asked[0] == DATA && stream.write_all(&data).is_ok() {}
    }
}

fn figures(to: SocketAddr) -> Result<Figures> {
    let mut stream = TcpStream::connect_timeout(&to, TIME).with_context(|| format!("connecting to {to}"))?;
    stream.write_all(&[DATA])?;
    let (mut buffer, mut bytes) = (vec![0; 1 << 20], 0);
    let begun = Instant::now();
    while begun.elapsed() < TIME {
        bytes += stream.read(&mut buffer)?;
    }
    let gbit_per_s = bytes as f64 * 8.0 / 1e9 / begun.elapsed().as_secs_f64();
    drop(stream);
    let (mut connections, begun) = (0u32, Instant::now());
    while begun.elapsed() < TIME {
        // Resets instead of waiting, so that the client does not run out of ports.
        let mut stream = TcpStream::connect(to)?;
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
        stream.write_all(&[END])?;
        let _ = stream.read(&mut [0]);
        connections += 1;
    }
    let connections_per_s = f64::from(connections) / begun.elapsed().as_secs_f64();
    Ok(Figures { gbit_per_s, connections_per_s })
}

impl Traffic {
    /// The lines of the report: what, direct, through the Service.
    pub fn rows(&self) -> [(&'static str, String, String); 2] {
        let share = |one: f64, other: f64| format!("{:.0} %", one / other * 100.0);
        let (direct, service) = (self.direct, self.service);
        [
            (
                "one TCP connection, Gbit/s",
                format!("{:.1}", direct.gbit_per_s),
                format!("{:.1} ({})", service.gbit_per_s, share(service.gbit_per_s, direct.gbit_per_s)),
            ),
            (
                "TCP connections made one after the other, a second",
                format!("{:.0}", direct.connections_per_s),
                format!(
                    "{:.0} ({})",
                    service.connections_per_s,
                    share(service.connections_per_s, direct.connections_per_s)
                ),
            ),
        ]
    }
}
