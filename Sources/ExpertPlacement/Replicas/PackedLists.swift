/// Lists one behind the other in one array: planning tries changes on copies, and a copy is one allocation. A list that
/// outgrows its place moves to the end.
struct PackedLists<Element> {
    private struct Place {
        var start: Int
        var count = 0
        var capacity: Int
    }

    /// Elements of all lists, with gaps.
    var elements = [Element]()
    private var places: [Place]
    private let filler: Element

    /// - Parameters:
    ///   - capacity: elements of a list before it has to move.
    ///   - filler: stands in the gaps.
    init(count: Int, capacity: Int, filler: Element) {
        places = (0..<count).map { Place(start: $0 * capacity, capacity: capacity) }
        elements = [Element](repeating: filler, count: count * capacity)
        self.filler = filler
    }

    func count(_ list: Int) -> Int { places[list].count }

    /// Where the elements of a list stand.
    func range(_ list: Int) -> Range<Int> {
        let place = places[list]
        return place.start..<place.start + place.count
    }

    subscript(list: Int) -> ArraySlice<Element> { elements[range(list)] }

    mutating func append(_ element: Element, to list: Int) {
        if places[list].count == places[list].capacity { grow(list) }
        elements[places[list].start + places[list].count] = element
        places[list].count += 1
    }

    private mutating func grow(_ list: Int) {
        let place = places[list]
        places[list] = Place(start: elements.count, count: place.count, capacity: 2 * place.capacity + 2)
        for index in place.start..<place.start + place.count { elements.append(elements[index]) }
        for _ in place.count..<places[list].capacity { elements.append(filler) }
    }

    /// Takes out the element at `index`, which is one of the list's; those behind it move up.
    mutating func remove(at index: Int, from list: Int) {
        for next in index + 1..<max(index + 1, range(list).upperBound) { elements[next - 1] = elements[next] }
        places[list].count -= 1
    }
}
