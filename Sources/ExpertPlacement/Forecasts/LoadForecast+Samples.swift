extension LoadForecast {
    /// Takes the loads of a sample into account, if it has any.
    public mutating func record(_ sample: PerformanceSample) {
        guard let loads = sample.expertLoads, !loads.isEmpty, sample.stepCount > 0,
            loads.allSatisfy({ $0.allSatisfy { $0 >= 0 } })
        else { return }
        record(loads.map { $0.map { Double($0) / Double(sample.stepCount) } }, steps: sample.stepCount)
    }

    /// Whether there are forecasts for all experts of `model`.
    public func fits(_ model: ExpertModel) -> Bool {
        !isEmpty && loads.map(\.count) == model.layers.map(\.count)
    }
}
