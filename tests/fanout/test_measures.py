"""What a hub counts of its deliveries."""

from tests.fanout.support import SITE, Reader, Setup, counts


def test_delivered_and_conflated_updates_are_counted(setup: Setup) -> None:
    fast, slow, gone = Reader(), Reader(), Reader()
    topic = setup.watch(fast, "a")
    setup.watch(slow, "a")
    setup.watch(gone, "a")
    slow.blocked = gone.blocked = True
    for version in (1, 2, 3):
        setup.publish("a", version)
        setup.settle()
    delivery_stats = setup.hub.delivery_stats
    assert (delivery_stats.sent, delivery_stats.conflated) == (3, 4), "two were spared 1 and 2"
    setup.hub.unsubscribe(topic, gone)
    slow.drain()
    assert (delivery_stats.sent, delivery_stats.conflated) == (4, 4)
    setup.hub.subscribe(SITE, "a")
    topic.attach(Reader())
    setup.publish("a", 4)
    assert (delivery_stats.sent, delivery_stats.conflated) == (4, 4), "a snapshot is no update, and enough"
    setup.publish("a", 5)
    assert delivery_stats.conflated == 7, "three were to be sent 4"
    setup.settle()
    assert (delivery_stats.sent, delivery_stats.conflated) == (7, 7)


def test_the_lag_of_updates_is_measured_but_not_of_resets(setup: Setup) -> None:
    setup.hub.delivery_stats.age = lambda version: 0.3 if version > 5 else 7200.0
    setup.watch(Reader(), "a")
    setup.watch(Reader(), "a")
    setup.publish("a", 9)
    setup.settle()
    lag = setup.hub.delivery_stats.lag
    assert (sum(lag.counts), round(lag.total, 6)) == (2, 0.6)
    assert lag.counts[lag.bounds.index(0.5)] == 2
    setup.hub.reconcile(b"default/a", 4, counts(4), 9)
    setup.settle()
    assert (setup.hub.delivery_stats.sent, sum(lag.counts)) == (4, 2)
