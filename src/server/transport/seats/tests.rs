#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

fn from(last: u8) -> Network {
    Some([10, 0, 0, last].into())
}

fn closed(seats: &[Seated]) -> Vec<usize> {
    (0..seats.len()).filter(|at| seats[*at].0.closer.is_closed()).collect()
}

#[test]
fn unauthenticated_connections_of_the_largest_network_are_closed_first() {
    let seats = Seats::new(64);
    let mut open = vec![seats.take(from(1)).unwrap()];
    open.extend((0..15).map(|_| seats.take(from(2)).unwrap()));
    assert!(closed(&open).is_empty());
    open.extend((0..3).map(|_| seats.take(from(2)).unwrap()));
    assert_eq!(closed(&open), [1, 2, 3]);
    open.push(seats.take(from(3)).unwrap());
    assert_eq!(closed(&open), [1, 2, 3, 4]);
}

#[test]
fn the_oldest_connection_is_closed_if_several_networks_have_the_most() {
    let seats = Seats::new(64);
    let open: Vec<_> = (1..=19).map(|last| seats.take(from(last)).unwrap()).collect();
    assert_eq!(closed(&open), [0, 1, 2]);
}

#[test]
fn a_caller_that_returns_is_not_replaced_by_unknown_callers_with_many_addresses() {
    let seats = Seats::new(64);
    drop(caller(&seats, 200, 7));
    let back = seats.take(from(200)).unwrap();
    let strangers: Vec<_> = (0..100).map(|last| seats.take(from(last)).unwrap()).collect();
    assert!(!back.0.closer.is_closed());
    assert_eq!(closed(&strangers).len(), 85);
    // An address with more connections than others still loses one first.
    let _second = seats.take(from(200)).unwrap();
    let _third = seats.take(from(200)).unwrap();
    assert!(back.0.closer.is_closed());
}

#[test]
fn a_bounded_number_of_networks_is_remembered() {
    let seats = Seats::new(64);
    let network = |number: usize| Some(std::net::Ipv4Addr::from(u32::try_from(number).unwrap()).into());
    for number in 0..=KNOWN {
        assert_eq!(seats.take(network(number)).unwrap().0.trust(None), Ok(()));
    }
    let known = &seats.0.open().known;
    assert_eq!(known.len(), KNOWN);
    assert!(!known.contains_key(&network(0)) && known.contains_key(&network(KNOWN)));
}

/// A connection of a caller with this token.
fn caller(seats: &Seats, last: u8, token: u64) -> Seated {
    let seat = seats.take(from(last)).unwrap();
    assert_eq!(seat.0.trust(Some(TokenId::of(token))), Ok(()));
    seat
}

fn call(seat: &Seated) -> Busy {
    seat.0.begin().unwrap().admit()
}

#[test]
fn a_caller_keeps_its_seat_when_many_unauthenticated_connections_open() {
    let seats = Seats::new(20);
    let caller = caller(&seats, 1, 7);
    let crowd: Vec<_> = (0..100).map(|_| seats.take(from(1)).unwrap()).collect();
    assert!(!caller.0.closer.is_closed());
    assert_eq!(closed(&crowd).len(), 84);
}

#[test]
fn closes_the_connection_of_a_caller_that_has_been_idle_for_longest() {
    let seats = Seats::new(4);
    let open: Vec<_> = (0..3).map(|_| caller(&seats, 1, 7)).collect();
    let busy = call(&open[0]);
    // A message that has not arrived does not count.
    let _begun = open[1].0.begin().unwrap();
    drop(call(&open[2]));
    let fourth = caller(&seats, 1, 7);
    assert_eq!(closed(&open), [1]);
    let _others = (call(&open[2]), call(&fourth));
    let fifth = seats.take(from(1)).unwrap();
    assert_eq!(fifth.0.trust(Some(TokenId::of(7))), Err(NoSeat { most: 3 }));
    assert!(!fifth.0.is_trusted());
    assert_eq!(closed(&open), [1]);
    drop(busy);
    assert_eq!(fifth.0.trust(Some(TokenId::of(7))), Ok(()));
    assert_eq!(closed(&open), [0, 1]);
}

/// One caller has taken all seats and makes calls on all of them.
#[test]
fn the_holder_of_the_most_seats_loses_one_to_others() {
    for (address, token) in [(2, 7), (1, 8), (2, 8)] {
        let seats = Seats::new(32);
        let honest = caller(&seats, address, token);
        let _honest_call = call(&honest);
        let greedy: Vec<_> = (0..23).map(|_| caller(&seats, 1, 7)).collect();
        let _calls: Vec<_> = greedy.iter().map(call).collect();
        let mut others = Vec::new();
        for number in 1..=3 {
            let other = caller(&seats, address, token);
            others.push((call(&other), other));
            assert_eq!(closed(&greedy), (0..number).collect::<Vec<_>>(), "{address} {token}");
            let again = seats.take(from(1)).unwrap();
            assert_eq!(again.0.trust(Some(TokenId::of(7))), Err(NoSeat { most: 24 }));
        }
        assert!(!honest.0.closer.is_closed() && !others.iter().any(|(_, it)| it.0.closer.is_closed()));
    }
}

#[test]
fn many_tokens_or_addresses_of_one_caller_count_as_one_holder() {
    for (of_address, of_token) in [(0, 1), (1, 0)] {
        let seats = Seats::new(32);
        let honest = caller(&seats, 200, 200);
        let greedy: Vec<_> = (0..23_u8)
            .map(|number| caller(&seats, 1 + of_address * number, u64::from(1 + of_token * number)))
            .collect();
        let _calls: Vec<_> = greedy.iter().map(call).collect();
        let _second = caller(&seats, 201, 201);
        assert_eq!(closed(&greedy), [0]);
        assert!(!honest.0.closer.is_closed());
    }
}

#[test]
fn a_token_on_many_addresses_does_not_replace_connections_of_another_token() {
    let seats = Seats::new(32);
    let honest: Vec<_> = (0..10).map(|_| caller(&seats, 1, 7)).collect();
    let _calls: Vec<_> = honest.iter().map(call).collect();
    let greedy: Vec<_> = (0..14).map(|number| caller(&seats, 100 + number, 8)).collect();
    let _greedy_calls: Vec<_> = greedy.iter().map(call).collect();
    let next = seats.take(from(150)).unwrap();
    assert_eq!(next.0.trust(Some(TokenId::of(8))), Err(NoSeat { most: 24 }));
    let _third = caller(&seats, 160, 9);
    assert_eq!((closed(&honest), closed(&greedy)), (vec![], vec![0]));
}

#[test]
fn closes_connections_without_a_call() {
    let seats = Seats::new(32);
    let open: Vec<_> = (0..4).map(|token| caller(&seats, 1, token)).collect();
    let probe = seats.take(from(1)).unwrap();
    // The message of this call has not arrived.
    let begun = open[1].0.begin();
    let _busy = call(&open[2]);
    // All have had a call, or were opened, less than an hour ago.
    seats.close_idle(Duration::from_secs(3600));
    assert_eq!((closed(&open), probe.0.closer.is_closed()), (vec![], false));
    seats.close_idle(Duration::ZERO);
    assert_eq!((closed(&open), probe.0.closer.is_closed()), (vec![0, 3], true));
    drop(begun);
    seats.close_idle(Duration::from_secs(3600));
    assert_eq!(closed(&open), [0, 3]);
    seats.close_idle(Duration::ZERO);
    assert_eq!(closed(&open), [0, 1, 3]);
    assert!(!seats.are_free());
    drop(open);
    assert!(seats.are_free());
}

#[test]
fn callers_without_a_token_are_distinguished_by_their_address() {
    let seats = Seats::new(32);
    let trusted = |last| {
        let seat = seats.take(from(last)).unwrap();
        assert_eq!(seat.0.trust(None), Ok(()));
        seat
    };
    let honest = trusted(2);
    let _honest_call = call(&honest);
    let greedy: Vec<_> = (0..23).map(|_| trusted(1)).collect();
    let _calls: Vec<_> = greedy.iter().map(call).collect();
    let _second = trusted(2);
    assert_eq!(closed(&greedy), [0]);
    assert!(!honest.0.closer.is_closed());
}

#[test]
fn a_new_connection_is_always_accepted_if_there_are_two_seats() {
    for most in [2, 3, 4, 7, 8, 100] {
        let seats = Seats::new(most);
        let open: Vec<_> = (0..most)
            .map_while(|_| {
                let seat = seats.take(from(1)).unwrap();
                seat.0.trust(None).ok().map(|()| (call(&seat), seat))
            })
            .collect();
        assert_eq!(open.len(), most - (most / 4).max(1));
        let probes: Vec<_> = (0..most).map(|_| seats.take(from(1)).unwrap()).collect();
        assert!(!open.iter().any(|(_, seat)| seat.0.closer.is_closed()));
        assert_eq!(probes.len() - closed(&probes).len(), (most / 4).max(1));
    }
}

#[test]
fn a_seat_is_released_when_its_connection_ends() {
    let seats = Seats::new(1);
    for _ in 0..3 {
        let seat = caller(&seats, 1, 7);
        let _busy = call(&seat);
        assert!(seats.take(from(1)).is_none());
    }
    let idle = caller(&seats, 1, 7);
    assert!(seats.take(from(1)).is_some());
    assert!(idle.0.closer.is_closed());
}

#[test]
fn limits_the_concurrent_calls_of_an_unauthenticated_connection() {
    let seats = Seats::new(2);
    let seat = seats.take(from(1)).unwrap();
    let calls: Vec<_> = (0..UNAUTHENTICATED_CALLS).map(|_| seat.0.begin().unwrap().admit()).collect();
    assert!(seat.0.begin().is_none());
    assert_eq!(seat.0.trust(None), Ok(()));
    assert!(seat.0.begin().is_some());
    assert!(seat.0.is_busy());
    drop(calls);
    assert!(!seat.0.is_busy());
}

#[test]
fn an_idle_connection_of_the_same_caller_goes_before_a_busy_one_of_others() {
    let seats = Seats::new(32);
    let own = caller(&seats, 2, 8);
    let greedy: Vec<_> = (0..23).map(|_| caller(&seats, 1, 7)).collect();
    let _calls: Vec<_> = greedy.iter().map(call).collect();
    let _next = caller(&seats, 2, 8);
    assert!(own.0.closer.is_closed());
    assert!(closed(&greedy).is_empty());
}

#[test]
fn make_room_closes_any_idle_connection_and_no_busy_one() {
    let seats = Seats::new(32);
    let idle = caller(&seats, 2, 8);
    let greedy: Vec<_> = (0..20).map(|_| caller(&seats, 1, 7)).collect();
    let _calls: Vec<_> = greedy.iter().map(call).collect();
    assert!(seats.make_room());
    assert!(idle.0.closer.is_closed());
    assert!(!seats.make_room());
}

#[tokio::test(start_paused = true)]
async fn unauthenticated_connections_that_are_idle_for_too_long_are_closed() {
    const MOMENT: Duration = Duration::from_millis(1);
    let seats = Seats::new(8);
    let open: Vec<_> = (0..3).map(|_| seats.take(from(1)).unwrap()).collect();
    let [_idle, spent, busy] = &open[..] else { panic!("three connections") };
    spent.0.spend();
    let calls = call(busy);
    let trusted = caller(&seats, 2, 7);
    let after = async |time| {
        tokio::time::advance(time).await;
        seats.sweep();
        closed(&open)
    };
    assert_eq!(after(SPENT_LONGEST_IDLE).await, [0; 0]);
    assert_eq!(after(MOMENT).await, [1]);
    assert_eq!(after(LONGEST_IDLE - SPENT_LONGEST_IDLE - MOMENT).await, [1]);
    assert_eq!(after(MOMENT).await, [0, 1]);
    assert_eq!(after(LONGEST_IDLE).await, [0, 1]);
    drop(calls);
    assert_eq!(after(LONGEST_IDLE).await, [0, 1]);
    assert_eq!(after(MOMENT).await, [0, 1, 2]);
    assert!(!trusted.0.closer.is_closed());
}
