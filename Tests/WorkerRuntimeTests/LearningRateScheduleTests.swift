import Testing
import WorkerRuntime

@Suite struct LearningRateScheduleTests {
    /// nanoGPT's `get_lr` with `learning_rate = 1e-3, min_lr = 1e-4, warmup_iters = 100, lr_decay_iters = 2000`.
    @Test(arguments: [
        (0, 9.900990099009901e-06), (50, 0.000504950495049505), (99, 0.0009900990099009901), (100, 0.001),
        (575, 0.0008681980515339464), (1050, 0.00055), (1999, 0.00010000061514140841), (2000, 0.0001), (5000, 0.0001),
    ])
    func cosineIsNanoGPTs(step: Int, expected: Double) {
        let schedule = LearningRateSchedule(
            shape: .cosine, learningRate: 1e-3, minimum: 1e-4, warmupSteps: 100, steps: 2000)
        #expect(abs(schedule.rate(at: step) - expected) < 1e-15)
    }

    @Test func constantAfterWarmup() {
        let schedule = LearningRateSchedule(
            shape: .constant, learningRate: 2e-3, minimum: 0, warmupSteps: 3, steps: 10)
        let rates = (0..<10).map(schedule.rate)
        #expect(rates[..<3].elementsEqual([0.5e-3, 1e-3, 1.5e-3]) { abs($0 - $1) < 1e-15 })
        #expect(Set(rates[3...]) == [2e-3])
    }

    @Test func warmupOverAllStepsNeverDividesByZero() {
        let schedule = LearningRateSchedule(shape: .cosine, learningRate: 1, minimum: 0, warmupSteps: 5, steps: 5)
        for step in 0..<8 { #expect(schedule.rate(at: step).isFinite, "step \(step)") }
    }
}
