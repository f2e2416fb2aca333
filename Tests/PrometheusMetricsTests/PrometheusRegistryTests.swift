import CoreMetrics
import PrometheusMetrics
import Synchronization
import Testing

struct PrometheusRegistryTests {
    private func registry(seriesLimit: Int = 10) -> PrometheusRegistry {
        PrometheusRegistry(
            [
                MetricDescription("jobs_total", .counter, "Jobs."),
                MetricDescription("heat_celsius", .gauge, "How hot it is."),
                MetricDescription("wait_seconds", .histogram(bounds: [0.5, 1, 2.5]), "Waits."),
            ], seriesLimit: seriesLimit)
    }

    @Test func whatWasCountedIsToldOf() {
        let registry = registry()
        #expect(registry.text == "")
        Gauge(label: "heat_celsius", factory: registry).record(-2.5)
        Counter(label: "jobs_total", dimensions: [("b", "2"), ("a", "1")], factory: registry).increment(by: 3)
        Counter(label: "jobs_total", dimensions: [("a", "1"), ("b", "2")], factory: registry).increment()
        FloatingPointCounter(label: "jobs_total", factory: registry).increment(by: 0.5)
        let timer = Timer(label: "wait_seconds", factory: registry)
        for milliseconds in [500, 501, 1_000, 2_000, 3_000, 4_000] { timer.recordMilliseconds(milliseconds) }
        #expect(
            registry.text == """
                # HELP jobs_total Jobs.
                # TYPE jobs_total counter
                jobs_total 0.5
                jobs_total{a="1",b="2"} 4
                # HELP heat_celsius How hot it is.
                # TYPE heat_celsius gauge
                heat_celsius -2.5
                # HELP wait_seconds Waits.
                # TYPE wait_seconds histogram
                wait_seconds_bucket{le="0.5"} 1
                wait_seconds_bucket{le="1"} 3
                wait_seconds_bucket{le="2.5"} 4
                wait_seconds_bucket{le="+Inf"} 6
                wait_seconds_sum 11.001
                wait_seconds_count 6

                """)
    }

    @Test func gaugesAreSetAndGo() {
        let registry = registry()
        let meters = ["x", "y"].map { Meter(label: "heat_celsius", dimensions: [("place", $0)], factory: registry) }
        meters[0].set(7)
        meters[1].set(0.25)
        meters[1].increment(by: 1.0)
        meters[1].decrement(by: 0.5)
        #expect(registry.text.hasSuffix("heat_celsius{place=\"x\"} 7\nheat_celsius{place=\"y\"} 0.75\n"))
        meters[0].destroy()
        #expect(registry.text.hasSuffix("gauge\nheat_celsius{place=\"y\"} 0.75\n"))
        // Made anew, it begins anew; who destroyed the old one does not reach it.
        Meter(label: "heat_celsius", dimensions: [("place", "x")], factory: registry).set(1)
        meters[0].destroy()
        #expect(registry.text.contains("{place=\"x\"} 1\n"))
    }

    @Test func anyTextIsALabel() {
        let registry = registry()
        Meter(label: "heat_celsius", dimensions: [("place", "a\"b\\c\nd é")], factory: registry).set(1)
        #expect(registry.text.hasSuffix("\nheat_celsius{place=\"a\\\"b\\\\c\\nd é\"} 1\n"))
    }

    @Test(arguments: [
        (0, "0"), (-0.0, "0"), (1e14, "100000000000000"), (1e300, "1e+300"), (0.1, "0.1"), (.nan, "NaN"),
        (.infinity, "+Inf"), (-.infinity, "-Inf"),
    ]) func anyNumberIsAValue(value: Double, text: String) {
        let registry = registry()
        Gauge(label: "heat_celsius", factory: registry).record(value)
        #expect(registry.text.hasSuffix("\nheat_celsius \(text)\n"))
    }

    @Test func whatWasNotDescribedIsNotTold() {
        let registry = registry()
        let counter = Counter(label: "secrets_total", factory: registry)
        counter.increment()
        counter.destroy()
        #expect(registry.text == "")
    }

    @Test func onlySoManySeries() {
        let registry = registry(seriesLimit: 2)
        let meters = (0..<4).map { Meter(label: "heat_celsius", dimensions: [("n", "\($0)")], factory: registry) }
        for meter in meters { meter.set(1) }
        #expect(registry.text.split(separator: "\n").count == 4)
        // There is room again when others have gone.
        meters[0].destroy()
        Meter(label: "heat_celsius", dimensions: [("n", "9")], factory: registry).set(1)
        #expect(registry.text.contains("{n=\"9\"}"))
    }

    @Test func manyCountAtOnce() async {
        let registry = registry()
        await withTaskGroup { group in
            for task in 0..<8 {
                group.addTask {
                    for _ in 0..<1_000 {
                        Counter(label: "jobs_total", dimensions: [("t", "\(task % 2)")], factory: registry).increment()
                        Timer(label: "wait_seconds", factory: registry).recordSeconds(1)
                    }
                }
            }
        }
        #expect(registry.text.contains("jobs_total{t=\"0\"} 4000\njobs_total{t=\"1\"} 4000\n"))
        #expect(registry.text.contains("wait_seconds_count 8000\n"))
    }
}
