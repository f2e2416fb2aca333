extension PlanPrediction {
    /// What is to be expected when one plan follows another.
    /// - Parameter loads: rows of each expert in a step, [layer][expert]; nil: not known, then balance is that of equal loads,
    ///   and the seconds of a step are 0.
    /// - Throws: `PlacementError.invalidPlan` when the plans are not for the same ranks and experts.
    public init(
        from current: PlacementPlan, to plan: PlacementPlan, loads: [[Double]]?, costs: CostModel, model: ExpertModel
    ) throws(PlacementError) {
        self.init()
        try Migration.check(from: current, to: plan)
        for (index, (old, new)) in zip(current.layers, plan.layers).enumerated() {
            let rows = loads?[index] ?? model.layers[index].map { _ in 1 }
            let before = LayerPrediction(
                old, loads: rows, costs: costs, hiddenSize: model.hiddenSize, worldSize: plan.worldSize, layer: index)
            let after = LayerPrediction(
                new, loads: rows, costs: costs, hiddenSize: model.hiddenSize, worldSize: plan.worldSize, layer: index)
            if loads != nil {
                secondsBefore += before.seconds
                secondsAfter += after.seconds
            }
            balanceBefore += before.balance / Double(plan.layers.count)
            balanceAfter += after.balance / Double(plan.layers.count)
            let change = PlacementChange(
                from: old, to: new, worldSize: plan.worldSize, ownership: costs.ownership, layer: index)
            replicaNeurons += change.replicaNeurons.reduce(0, +)
            homeNeurons += change.homeNeurons.reduce(0, +)
            moveSeconds += costs.seconds(change, hiddenSize: model.hiddenSize)
            bytes += change.bytes(hiddenSize: model.hiddenSize)
        }
    }

    /// In words, for people.
    var summary: String {
        func percent(_ part: Double) -> String {
            let percent = (100 * part).rounded()
            return abs(percent) < 1e6 ? "\(Int(percent)) %" : "an unknown %"
        }
        let faster = secondsBefore > 0 ? 1 - secondsAfter / secondsBefore : 0
        return "the ranks' balance is to go from \(percent(balanceBefore)) to \(percent(balanceAfter)) and to take "
            + "\(percent(faster)) off the experts' time"
    }
}

extension LayerPrediction {
    /// Of loads that are certain.
    init(
        _ placement: LayerPlacement, loads: [Double], costs: CostModel, hiddenSize: Int, worldSize: Int, layer: Int
    ) {
        self.init(
            placement, loads: loads, deviations: [Double](repeating: 0, count: loads.count), caution: 0, costs: costs,
            hiddenSize: hiddenSize, worldSize: worldSize, layer: layer)
    }
}
