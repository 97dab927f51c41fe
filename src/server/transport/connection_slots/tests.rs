#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

fn from(last: u8) -> Network {
    Some([10, 0, 0, last].into())
}

fn closed(slots: &[OccupiedSlot]) -> Vec<usize> {
    (0..slots.len()).filter(|at| slots[*at].0.closer.is_closed()).collect()
}

#[test]
fn unauthenticated_connections_of_the_largest_network_are_closed_first() {
    let slots = ConnectionSlots::new(64);
    let mut open = vec![slots.take(from(1)).unwrap()];
    open.extend((0..15).map(|_| slots.take(from(2)).unwrap()));
    assert!(closed(&open).is_empty());
    open.extend((0..3).map(|_| slots.take(from(2)).unwrap()));
    assert_eq!(closed(&open), [1, 2, 3]);
    open.push(slots.take(from(3)).unwrap());
    assert_eq!(closed(&open), [1, 2, 3, 4]);
}

#[test]
fn the_oldest_connection_is_closed_if_several_networks_have_the_most() {
    let slots = ConnectionSlots::new(64);
    let open: Vec<_> = (1..=19).map(|last| slots.take(from(last)).unwrap()).collect();
    assert_eq!(closed(&open), [0, 1, 2]);
}

#[test]
fn a_caller_that_returns_is_not_replaced_by_unknown_callers_with_many_addresses() {
    let slots = ConnectionSlots::new(64);
    drop(caller(&slots, 200, 7));
    let back = slots.take(from(200)).unwrap();
    let unknown: Vec<_> = (0..100).map(|last| slots.take(from(last)).unwrap()).collect();
    assert!(!back.0.closer.is_closed());
    assert_eq!(closed(&unknown).len(), 85);
    // An address with more connections than others still loses one first.
    let _second = slots.take(from(200)).unwrap();
    let _third = slots.take(from(200)).unwrap();
    assert!(back.0.closer.is_closed());
}

#[test]
fn a_bounded_number_of_networks_is_remembered() {
    let slots = ConnectionSlots::new(64);
    let network = |number: usize| Some(std::net::Ipv4Addr::from(u32::try_from(number).unwrap()).into());
    for number in 0..=KNOWN {
        assert_eq!(slots.take(network(number)).unwrap().0.trust(None), Ok(()));
    }
    let known = &slots.0.open().known;
    assert_eq!(known.len(), KNOWN);
    assert!(!known.contains_key(&network(0)) && known.contains_key(&network(KNOWN)));
}

/// A connection of a caller with this token.
fn caller(slots: &ConnectionSlots, last: u8, token: u64) -> OccupiedSlot {
    let slot = slots.take(from(last)).unwrap();
    assert_eq!(slot.0.trust(Some(TokenId::of(token))), Ok(()));
    slot
}

fn call(slot: &OccupiedSlot) -> Busy {
    slot.0.begin().unwrap().admit()
}

#[test]
fn a_caller_keeps_its_slot_when_many_unauthenticated_connections_open() {
    let slots = ConnectionSlots::new(20);
    let caller = caller(&slots, 1, 7);
    let crowd: Vec<_> = (0..100).map(|_| slots.take(from(1)).unwrap()).collect();
    assert!(!caller.0.closer.is_closed());
    assert_eq!(closed(&crowd).len(), 84);
}

#[test]
fn closes_the_connection_of_a_caller_that_has_been_idle_for_longest() {
    let slots = ConnectionSlots::new(4);
    let open: Vec<_> = (0..3).map(|_| caller(&slots, 1, 7)).collect();
    let busy = call(&open[0]);
    // A message that has not arrived does not count.
    let _begun = open[1].0.begin().unwrap();
    drop(call(&open[2]));
    let fourth = caller(&slots, 1, 7);
    assert_eq!(closed(&open), [1]);
    let _others = (call(&open[2]), call(&fourth));
    let fifth = slots.take(from(1)).unwrap();
    assert_eq!(fifth.0.trust(Some(TokenId::of(7))), Err(NoFreeSlot { most: 3 }));
    assert!(!fifth.0.is_trusted());
    assert_eq!(closed(&open), [1]);
    drop(busy);
    assert_eq!(fifth.0.trust(Some(TokenId::of(7))), Ok(()));
    assert_eq!(closed(&open), [0, 1]);
}

/// One caller has taken all slots and makes calls on all of them.
#[test]
fn the_holder_of_the_most_slots_loses_one_to_others() {
    for (address, token) in [(2, 7), (1, 8), (2, 8)] {
        let slots = ConnectionSlots::new(32);
        let honest = caller(&slots, address, token);
        let _honest_call = call(&honest);
        let greedy: Vec<_> = (0..23).map(|_| caller(&slots, 1, 7)).collect();
        let _calls: Vec<_> = greedy.iter().map(call).collect();
        let mut others = Vec::new();
        for number in 1..=3 {
            let other = caller(&slots, address, token);
            others.push((call(&other), other));
            assert_eq!(closed(&greedy), (0..number).collect::<Vec<_>>(), "{address} {token}");
            let again = slots.take(from(1)).unwrap();
            assert_eq!(again.0.trust(Some(TokenId::of(7))), Err(NoFreeSlot { most: 24 }));
        }
        assert!(!honest.0.closer.is_closed() && !others.iter().any(|(_, it)| it.0.closer.is_closed()));
    }
}

#[test]
fn many_tokens_or_addresses_of_one_caller_count_as_one_holder() {
    for (of_address, of_token) in [(0, 1), (1, 0)] {
        let slots = ConnectionSlots::new(32);
        let honest = caller(&slots, 200, 200);
        let greedy: Vec<_> = (0..23_u8)
            .map(|number| caller(&slots, 1 + of_address * number, u64::from(1 + of_token * number)))
            .collect();
        let _calls: Vec<_> = greedy.iter().map(call).collect();
        let _second = caller(&slots, 201, 201);
        assert_eq!(closed(&greedy), [0]);
        assert!(!honest.0.closer.is_closed());
    }
}

#[test]
fn a_token_on_many_addresses_does_not_replace_connections_of_another_token() {
    let slots = ConnectionSlots::new(32);
    let honest: Vec<_> = (0..10).map(|_| caller(&slots, 1, 7)).collect();
    let _calls: Vec<_> = honest.iter().map(call).collect();
    let greedy: Vec<_> = (0..14).map(|number| caller(&slots, 100 + number, 8)).collect();
    let _greedy_calls: Vec<_> = greedy.iter().map(call).collect();
    let next = slots.take(from(150)).unwrap();
    assert_eq!(next.0.trust(Some(TokenId::of(8))), Err(NoFreeSlot { most: 24 }));
    let _third = caller(&slots, 160, 9);
    assert_eq!((closed(&honest), closed(&greedy)), (vec![], vec![0]));
}

#[test]
fn closes_connections_without_a_call() {
    let slots = ConnectionSlots::new(32);
    let open: Vec<_> = (0..4).map(|token| caller(&slots, 1, token)).collect();
    let probe = slots.take(from(1)).unwrap();
    // The message of this call has not arrived.
    let begun = open[1].0.begin();
    let _busy = call(&open[2]);
    // All have had a call, or were opened, less than an hour ago.
    slots.close_idle(Duration::from_secs(3600));
    assert_eq!((closed(&open), probe.0.closer.is_closed()), (vec![], false));
    slots.close_idle(Duration::ZERO);
    assert_eq!((closed(&open), probe.0.closer.is_closed()), (vec![0, 3], true));
    drop(begun);
    slots.close_idle(Duration::from_secs(3600));
    assert_eq!(closed(&open), [0, 3]);
    slots.close_idle(Duration::ZERO);
    assert_eq!(closed(&open), [0, 1, 3]);
    assert!(!slots.are_free());
    drop(open);
    assert!(slots.are_free());
}

#[test]
fn callers_without_a_token_are_distinguished_by_address() {
    let slots = ConnectionSlots::new(32);
    let trusted = |last| {
        let slot = slots.take(from(last)).unwrap();
        assert_eq!(slot.0.trust(None), Ok(()));
        slot
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
fn a_new_connection_is_always_accepted_if_there_are_two_slots() {
    for most in [2, 3, 4, 7, 8, 100] {
        let slots = ConnectionSlots::new(most);
        let open: Vec<_> = (0..most)
            .map_while(|_| {
                let slot = slots.take(from(1)).unwrap();
                slot.0.trust(None).ok().map(|()| (call(&slot), slot))
            })
            .collect();
        assert_eq!(open.len(), most - (most / 4).max(1));
        let probes: Vec<_> = (0..most).map(|_| slots.take(from(1)).unwrap()).collect();
        assert!(!open.iter().any(|(_, slot)| slot.0.closer.is_closed()));
        assert_eq!(probes.len() - closed(&probes).len(), (most / 4).max(1));
    }
}

#[test]
fn a_slot_is_released_when_its_connection_ends() {
    let slots = ConnectionSlots::new(1);
    for _ in 0..3 {
        let slot = caller(&slots, 1, 7);
        let _busy = call(&slot);
        assert!(slots.take(from(1)).is_none());
    }
    let idle = caller(&slots, 1, 7);
    assert!(slots.take(from(1)).is_some());
    assert!(idle.0.closer.is_closed());
}

#[test]
fn limits_the_concurrent_calls_of_an_unauthenticated_connection() {
    let slots = ConnectionSlots::new(2);
    let slot = slots.take(from(1)).unwrap();
    let calls: Vec<_> = (0..UNAUTHENTICATED_CALLS).map(|_| slot.0.begin().unwrap().admit()).collect();
    assert!(slot.0.begin().is_none());
    assert_eq!(slot.0.trust(None), Ok(()));
    assert!(slot.0.begin().is_some());
    assert!(slot.0.is_busy());
    drop(calls);
    assert!(!slot.0.is_busy());
}

#[test]
fn an_idle_connection_of_the_same_caller_is_closed_before_a_busy_one_of_others() {
    let slots = ConnectionSlots::new(32);
    let own = caller(&slots, 2, 8);
    let greedy: Vec<_> = (0..23).map(|_| caller(&slots, 1, 7)).collect();
    let _calls: Vec<_> = greedy.iter().map(call).collect();
    let _next = caller(&slots, 2, 8);
    assert!(own.0.closer.is_closed());
    assert!(closed(&greedy).is_empty());
}

#[test]
fn make_room_closes_any_idle_connection_and_no_busy_one() {
    let slots = ConnectionSlots::new(32);
    let idle = caller(&slots, 2, 8);
    let greedy: Vec<_> = (0..20).map(|_| caller(&slots, 1, 7)).collect();
    let _calls: Vec<_> = greedy.iter().map(call).collect();
    assert!(slots.make_room());
    assert!(idle.0.closer.is_closed());
    assert!(!slots.make_room());
}

#[tokio::test(start_paused = true)]
async fn unauthenticated_connections_that_are_idle_for_too_long_are_closed() {
    const MOMENT: Duration = Duration::from_millis(1);
    let slots = ConnectionSlots::new(8);
    let open: Vec<_> = (0..3).map(|_| slots.take(from(1)).unwrap()).collect();
    let [_idle, spent, busy] = &open[..] else { panic!("three connections") };
    spent.0.spend();
    let calls = call(busy);
    let trusted = caller(&slots, 2, 7);
    let after = async |time| {
        tokio::time::advance(time).await;
        slots.sweep();
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
