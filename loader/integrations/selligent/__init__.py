"""Send data of people and events to Selligent: settings, what each call becomes, in which order it is sent."""
