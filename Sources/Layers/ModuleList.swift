/// Parts that are named "0", "1", ….
public final class ModuleList<Element: Module>: Module {
    public let elements: [Element]

    public init(_ elements: [Element]) {
        self.elements = elements
    }

    public var children: [(name: String, module: any Module)] {
        elements.enumerated().map { ("\($0)", $1) }
    }
}
