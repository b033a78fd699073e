// SPDX-License-Identifier: MIT
//
// A connect storm on tokio, on one thread: one task for each connect in flight.
//
//     connect_tokio PORT TOTAL CONCURRENCY
//
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::{spawn_local, LocalSet};

async fn connect_all(address: SocketAddr, left: Rc<Cell<u64>>) {
    while left.get() > 0 {
        left.set(left.get() - 1);
        let stream = TcpStream::connect(address).await.expect("connect");
        stream.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).map(|word| word.parse().unwrap()).collect();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, numbers[0] as u16));
    let left = Rc::new(Cell::new(numbers[1]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let tasks: Vec<_> =
            (0..numbers[2]).map(|_| spawn_local(connect_all(address, left.clone()))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}
