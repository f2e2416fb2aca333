import ExpertPlacement

/// What a dispatcher works out of a placement, kept until the placement changes.
struct PlacementCache<Value: Sendable>: Sendable {
    private var entry: (experts: [ExpertPlacement], value: Value)?

    /// The value for `placement`. The comparison costs nothing while the plan stays: arrays that share their memory are equal.
    mutating func value(for placement: LayerPlacement, _ make: ([ExpertPlacement]) -> Value) -> Value {
        if let entry, entry.experts == placement.experts { return entry.value }
        let value = make(placement.experts)
        entry = (placement.experts, value)
        return value
    }
}
