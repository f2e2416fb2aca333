import Layers

/// A way of routing that gives the same results whatever the ranks and the placement of experts.
public struct RoutingVariant: Sendable, CustomStringConvertible {
    public let description: String
    public let training: InvarianceCase

    private init(_ description: String, _ change: (inout InvarianceCase) -> Void) {
        var training = InvarianceCase()
        training.experts = 6
        training.width = 7
        change(&training)
        (self.description, self.training) = (description, training)
    }

    /// Experts with biases that follow the loads.
    public static let biases = RoutingVariant("sigmoid with biases, groups and a factor, balanced by sequence") {
        $0.routing.score = .sigmoid
        $0.routing.biasUpdateRate = 0.02
        $0.routing.groups = RoutingPolicy.Groups(count: 3, perToken: 2)
        $0.routing.scalingFactor = 2.5
        $0.routing.balancesSequences = true
    }

    public static let droppedByScore = RoutingVariant("dropped by score") {
        $0.capacity = ExpertCapacity(factor: 0.9, dropPolicy: .score)
    }

    public static let all = [
        RoutingVariant("not renormalised") { $0.routing.renormalizes = false },
        RoutingVariant("softmax of the selected") { $0.routing.softmaxIsOfSelected = true },
        biases,
        RoutingVariant("sigmoid with biases and groups") {
            $0.routing.score = .sigmoid
            $0.routing.biasUpdateRate = 0.02
            $0.routing.groups = RoutingPolicy.Groups(count: 2, perToken: 1)
        },
        RoutingVariant("groups and z-loss") {
            $0.routing.groups = RoutingPolicy.Groups(count: 3, perToken: 1)
            $0.routing.zLossCoefficient = 0.01
        },
        RoutingVariant("balanced by sequence, z-loss") {
            $0.routing.balancesSequences = true
            $0.routing.zLossCoefficient = 0.01
        },
        RoutingVariant("jitter") { $0.routing.jitter = 0.2 },
        RoutingVariant("expert choice") {
            $0.routing.selection = .expertChoice
            $0.routing.renormalizes = false
            $0.routing.zLossCoefficient = 0.01
        },
        RoutingVariant("expert choice by sigmoids") {
            $0.expertsPerToken = 1
            $0.routing.selection = .expertChoice
            $0.routing.renormalizes = false
            $0.routing.score = .sigmoid
        },
        RoutingVariant("dropped by position") { $0.capacity = ExpertCapacity(factor: 1) },
        droppedByScore,
        RoutingVariant("dropped by score, padded") {
            $0.capacity = ExpertCapacity(factor: 0.9, dropPolicy: .score, pads: true)
        },
        RoutingVariant("nearly all dropped") { $0.capacity = ExpertCapacity(factor: 0.2, pads: true) },
    ]
}
