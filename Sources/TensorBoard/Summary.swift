/// What one step is to show: values by tag. The part of a tag before the first slash is its group on the page.
package struct Summary {
    /// `Summary` of tensorboard/compat/proto/summary.proto.
    private(set) var message = ProtobufMessage()

    package init() {}

    package mutating func add(_ tag: String, scalar: Double) {
        var value = ProtobufMessage()
        value.add(1, tag)
        value.add(2, Float(scalar))
        message.add(1, value)
    }

    package mutating func add(_ tag: String, histogram: Histogram) {
        var value = ProtobufMessage()
        value.add(1, tag)
        value.add(5, histogram.message)
        message.add(1, value)
    }
}
